"""Child process that decodes and segments received cines, so that a malicious file cannot crash the node.

Run as ``python -m monai_agglo.node.child``. Reads jobs as JSON lines from stdin and writes answers as JSON lines to
stdout. The process ends with its parent.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from monai_agglo.processes import serve_lines

__all__ = ["answer", "limit", "main"]


def limit(memory_mb: int) -> None:
    """Limit the memory of this process and disable core dumps, which would contain patient images.

    Args:
        memory_mb: memory limit in MiB.
    """
    try:
        import resource
    except ImportError:  # Windows: time limit only
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # RLIMIT_AS includes address space reserved by GPU drivers (some hundred GB); RLIMIT_DATA does not on Linux
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    size = memory_mb << 20
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def answer(job: dict[str, Any], setup: dict[str, Any]) -> dict[str, Any]:
    """Segment one cine.

    Args:
        job: ``file``, ``folder`` for the results, ``object`` (pseudonym of the SOP Instance UID of the request).
        setup: ``bundle``, ``device``, ``results`` and ``any_view``.

    Returns:
        ``files``, ``study`` and ``patient`` (pseudonyms), ``warnings``, ``seconds``; or ``error``, one sentence without
        identity, with ``kind``: ``input``, ``memory``, ``unexpected`` (permanent) or ``disk`` (temporary).
    """
    from monai_agglo.cine.errors import CineReadError

    try:
        return _segment(job, setup)
    except MemoryError:
        return {"kind": "memory", "error": "it needs more memory than the limit allows"}
    except CineReadError as error:
        return {"kind": "input", "error": _nameless(error, job)}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"kind": "disk", "error": "the disk is full"}
        return {"kind": "unexpected", "error": f"unexpected {type(error).__name__} ({os.strerror(error.errno or 0)})"}
    except ValueError as error:
        own = type(error).__module__.startswith("monai_agglo") or type(error) is ValueError
        return {"kind": "input", "error": _nameless(error, job) if own else f"unexpected {type(error).__name__}"}
    except Exception as error:  # the message may quote an identifying tag
        if "alloc" in str(error).lower() or "out of memory" in str(error).lower():
            return {"kind": "memory", "error": "it needs more memory than available"}
        return {"kind": "unexpected", "error": f"unexpected {type(error).__name__}"}


def _segment(job: dict[str, Any], setup: dict[str, Any]) -> dict[str, Any]:
    from monai_agglo.cine.errors import fail
    from monai_agglo.cine.identity import pseudonym
    from monai_agglo.dicom.deidentify_uid import patient_pseudonym
    from monai_agglo.dicom.result_source import ResultSource
    from monai_agglo.prediction.run import predict

    file, folder, wanted = Path(job["file"]), Path(job["folder"]), setup["results"]
    source = ResultSource.read(file, keep_identity=True)
    header = source.header
    if pseudonym(source.originals[0]) != job["object"]:
        raise fail(file, "its SOP Instance UID differs from that of the C-STORE request")
    output = folder / "result"
    options: dict[str, Any] = {"dicom_seg": "seg" in wanted, "dicom_overlay": "overlay" in wanted}
    options["keep_identity"] = any(options.values())
    report = predict(file, output, setup["bundle"], device=setup["device"], **options)
    record = report.cases[0].record
    view = record["view"]
    if not setup["any_view"] and view is not None and not view["looks_like_lateral_vfss"]:
        wanted = [name for name in wanted if name == "sr"]  # masks of other views are meaningless
    if "sr" in wanted:
        from .measurements import write_measurements

        write_measurements(output, source)
    names = [f"{name}.dcm" for name in wanted if (output / f"{name}.dcm").is_file()]
    for name in names:
        os.replace(output / name, folder / name)
    study = str(header.StudyInstanceUID)
    return {
        "files": names,
        "study": pseudonym(study, "study"),
        "patient": patient_pseudonym(str(header.PatientID or ""), str(header.get("IssuerOfPatientID") or ""), study),
        "warnings": record["warnings"],
        "seconds": record["seconds"],
    }


def _nameless(error: Exception, job: dict[str, Any]) -> str:
    """The error message without the path of the file."""
    return " ".join(str(error).replace(job["file"], "").split()).lstrip(": ")


def main() -> None:
    """Answer jobs until stdin ends. The first line is the set-up, answered when the bundle could be loaded."""
    setup: dict[str, Any] = {}

    def handle(content: dict[str, Any]) -> dict[str, Any]:
        if setup:
            return answer(content, setup)
        setup.update(content)
        limit(setup["memory_mb"])
        try:
            from monai_agglo.prediction.segmenter import Segmenter

            Segmenter(setup["bundle"], setup["device"])
        except Exception as error:  # nothing of a patient is known yet: the text may be shown
            return {"error": " ".join(str(error).split()) or type(error).__name__}
        return {"ready": True}

    serve_lines(handle)


if __name__ == "__main__":
    main()

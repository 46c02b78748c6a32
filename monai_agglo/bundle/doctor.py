"""Checks of the installation and of a bundle, one line each, without running the bundle.

No check generates data, accesses the network or writes a file: configs are read, references and class names are
resolved, and only the model is built, to compare its keys with the weights.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from monai_agglo.files import sha256
from monai_agglo.locate import find_bundle

from .config_check import config_problems, load_parser

__all__ = ["Check", "doctor", "sha256"]

SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
"""MONAI's metadata schema 20240725."""
FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/inference.json",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
    "models/model.pt",
)
TRAINED = ("configs/train.json", "configs/evaluate.json", "configs/multi_gpu_train.json")
"""Additionally required for a bundle with a ``train.json``."""
WORKFLOWS = {
    "train": ("train.json",),
    "train+evaluate": ("train.json", "evaluate.json"),
    "inference": ("inference.json",),
}
REQUIRED_KEYS = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task"),
    *("description", "authors", "copyright", "network_data_format", "changelog", "name"),
)
CORE = ("monai", "torch", "torchvision", "numpy", "pydicom", "pytorch-ignite", "mlflow", "timm", "nibabel", "itk")


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Args:
        name: name of the check.
        status: ``ok``, ``warn`` or ``fail``.
        text: the finding, one line.
    """

    name: str
    status: str
    text: str

    def __str__(self) -> str:
        return f"{self.status:4}  {self.name:12} {self.text}"


def doctor(bundle: str | os.PathLike[str] = "vfss_seg", schema: str | os.PathLike[str] | None = None) -> list[Check]:
    """Check the installation and one bundle.

    Args:
        bundle: a bundle's folder or name, see :func:`find_bundle`.
        schema: MONAI's metadata schema as a file; without it only the required keys are checked.

    Returns:
        The results in reading order.

    Raises:
        FileNotFoundError: if the bundle does not exist.
    """
    folder = find_bundle(bundle)  # before the slow import of MONAI
    from monai.bundle import ConfigParser

    checks = [*_machine(), *_codecs(), *_origin(folder), *_files(folder)]
    try:
        meta = ConfigParser.load_config_file(folder / "configs" / "metadata.json")
    except ValueError as error:
        return [*checks, Check("metadata", "fail", f"configs/metadata.json is not readable: {error}")]
    checks += [*_metadata(folder, meta, schema), *_versions(meta)]
    for name, files in WORKFLOWS.items():
        paths = [folder / "configs" / file for file in files]
        if all(path.is_file() for path in paths):
            checks += _guarded("config ids", partial(_config, name, paths, folder))
    return [*checks, *_guarded("weights", partial(_weights, folder))]


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    """Run one check; an exception becomes its finding and the other checks continue."""
    try:
        return list(look())
    except Exception as error:
        return [Check(name, "fail", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]


def _machine() -> Iterator[Check]:
    import torch

    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Check("python", "ok" if sys.version_info >= (3, 10) else "fail", python)
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Check("device", "ok", f"cuda: {names}")
    else:
        yield Check("device", "ok", f"cpu, {torch.get_num_threads()} threads (no CUDA device)")
    try:
        import torchvision  # noqa: F401  (its compiled operators do not load beside another torch build)
    except (ImportError, RuntimeError) as error:
        text = f"torchvision does not fit torch {torch.__version__}: {error}; install both with one pip command"
        yield Check("torchvision", "fail", text)
    missing = [name for name in CORE if _installed(name) is None]
    found = ", ".join(f"{name} {_installed(name)}" for name in CORE if name not in missing)
    yield Check("packages", "fail" if missing else "ok", f"missing: {', '.join(missing)}" if missing else found)


def _installed(name: str) -> str | None:
    try:
        return distributions.version(name)
    except distributions.PackageNotFoundError:
        return None


def _codecs() -> Iterator[Check]:
    for name, serves in (
        ("imagecodecs", "JPEG, JPEG Lossless, JPEG-LS, JPEG 2000"),
        ("av", "encapsulated video and AVI/MP4"),
    ):
        version = _installed(name)
        if version is None:
            yield Check("codecs", "fail", f"{name} is not installed: no {serves}; pip install {name}")
        else:
            yield Check("codecs", "ok", f"{name} {version}: {serves}")


def _origin(folder: Path) -> Iterator[Check]:
    import monai_agglo

    here = Path(monai_agglo.__file__).resolve().parent
    copy = (folder / "monai_agglo").resolve()
    if copy.is_dir() and copy != here:
        yield Check("origin", "warn", f"the bundle carries its own copy of the code, but {here} was imported")
    else:
        yield Check("origin", "ok", f"monai_agglo {monai_agglo.__version__} from {here}")
    yield Check("bundle", "ok", str(folder.resolve()))


def _files(folder: Path) -> Iterator[Check]:
    wanted = FILES + (TRAINED if (folder / "configs" / "train.json").is_file() else ())
    missing = [name for name in wanted if not (folder / name).is_file()]
    yield Check("files", "fail" if missing else "ok", f"missing: {', '.join(missing)}" if missing else "all there")


def _metadata(folder: Path, meta: dict[str, Any], schema: str | os.PathLike[str] | None) -> Iterator[Check]:
    missing = [key for key in REQUIRED_KEYS if key not in meta]
    if missing:
        yield Check("metadata", "fail", f"keys missing: {', '.join(missing)}")
        return
    if meta["version"] not in meta["changelog"]:
        yield Check("metadata", "fail", f"changelog has no entry for version {meta['version']}")
    if schema is None:
        yield Check("metadata", "ok", f"version {meta['version']}, required keys there (--schema FILE checks them all)")
    else:
        yield from _guarded("metadata", partial(_schema, folder, schema))
    formats = meta["network_data_format"]
    for side, first in (("inputs", "image"), ("outputs", "pred")):
        names = list(formats.get(side, {}))
        if names[:1] != [first]:
            yield Check("metadata", "fail", f"the first of network_data_format.{side} must be called {first!r}")
    pred = formats.get("outputs", {}).get("pred", {})
    channels, labels = pred.get("num_channels"), pred.get("channel_def", {})
    if len(labels) != channels:
        yield Check("metadata", "fail", f"pred has {channels} channels but {len(labels)} entries in channel_def")


def _schema(folder: Path, schema: str | os.PathLike[str]) -> Iterator[Check]:
    from monai.bundle import verify_metadata

    if not Path(schema).is_file():  # MONAI would download to that path
        raise FileNotFoundError(f"no schema at {schema}")
    meta_file = str(folder / "configs" / "metadata.json")
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # it would list its arguments between our lines
    try:
        verify_metadata(meta_file=meta_file, filepath=str(schema), hash_val=SCHEMA_MD5, hash_type="md5")
    finally:
        logging.disable(before)
    yield Check("metadata", "ok", "valid under schema 20240725")


def _versions(meta: dict[str, Any]) -> Iterator[Check]:
    keys = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    stated = {name: meta[key] for name, key in keys.items() if key in meta}
    stated.update(meta.get("required_packages_version", {}))
    absent = [name for name in stated if _installed(name) is None]
    if absent:
        yield Check("versions", "fail", f"the bundle needs {', '.join(absent)}: pip install {' '.join(absent)}")
    differ = [
        f"{name} {_installed(name)} (bundle: {version})"
        for name, version in stated.items()
        if name not in absent and _release(_installed(name)) != _release(version)
    ]
    if differ:
        yield Check("versions", "warn", f"other than the bundle was made with: {', '.join(differ)}")
    elif stated and not absent:
        yield Check("versions", "ok", "as the bundle was made with")


def _release(version: str | None) -> str:
    """The version without its local part: 2.8.0+cpu becomes 2.8.0."""
    return (version or "").partition("+")[0]


def _config(name: str, paths: list[Path], folder: Path) -> Iterator[Check]:
    problems = config_problems(load_parser(paths, folder), inference=name == "inference")
    if problems:
        yield Check("config ids", "fail", f"{name}: " + "; ".join(problems[:5]))
    else:
        yield Check("config ids", "ok", f"{name}: required ids, references and class names are right")


def _weights(folder: Path) -> Iterator[Check]:
    import torch

    path = folder / "models" / "model.pt"
    config = folder / "configs" / "inference.json"
    if not path.is_file() or not config.is_file():
        yield Check("weights", "fail", "nothing to compare: models/model.pt or configs/inference.json is missing")
        return
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("model", state)
    network = load_parser([config], folder).get_parsed_content("network_def")
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    stored = {key: tuple(value.shape) for key, value in state.items()}
    wrong = sorted(key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key))
    size = path.stat().st_size / 1e6
    text = f"{size:.1f} MB, sha256 {sha256(path)[:16]}, {len(stored)} tensors"
    if wrong:
        yield Check("weights", "fail", f"{text}; {len(wrong)} do not fit the network, such as {wrong[0]}")
    else:
        yield Check("weights", "ok", f"{text}, all fit the network")

"""What all tests share."""

import os
from pathlib import Path

import pytest

SLOW = (
    "bundle/test_exporting.py",
    "bundle/test_pack.py::test_runs_alone",
    "bundles/test_agglo_distill.py",
    "bundles/test_decoder_stage.py",
    "bundles/test_evaluate.py::test_two_processes",
    "bundles/test_resume.py",
    "bundles/test_splice.py",
    "bundles/test_teacher_bundles.py",
    "bundles/test_vfss_seg.py",
    "distill/test_agglomerate.py::test_killed_and_resumed_gives_the_same_student",
    "engines/test_student_cost.py",
    "experiments/agglo_study/test_study_runner.py",
    "experiments/benchmark/test_bench_r",
    "handlers/test_run_tracker.py",
    "label/",
    "losses/balancers/test_ranks.py::test_two_processes_are_one",
    "networks/teachers/test_teacher_parity.py",
    "node/test_segmenting.py",
    "prediction/many/",
    "prediction/test_bundle_graph.py",
    "prediction/test_predict_shared.py",
    "prediction/test_predict_streams.py::test_killed_before_the_last_step",
    "prediction/runtimes/test_runtimes.py::test_processor_without_wide_vectors",
    "test_docs.py",
    "test_malloc.py::test_freed_pages_are_reused",
    "test_notebook.py",
    "test_wheel.py",
)
"""Beginnings of the names of slow tests: several processes, whole trainings, servers, real weights, the documentation.
The core suite, ``pytest -m "not slow"``, leaves them out."""

SHARED = Path(os.environ.get("AGGLO_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Graphs of networks that tests make stay out of the user's cache; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_pseudonym_key(tmp_path_factory, monkeypatch):
    """Pseudonyms of tests come from a key of their own."""
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory):
    """Folder of a bundle with random weights."""
    from app_samples import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle") / "random_seg")


@pytest.fixture(scope="session")
def shared_dicom():
    """The folder of real DICOM files, outside the project."""
    folder = SHARED / "dicom"
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no {folder} here (set AGGLO_SHARED)")
    return folder


def pytest_collection_modifyitems(items):
    """Mark the slow tests."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(SLOW):
            item.add_marker(pytest.mark.slow)

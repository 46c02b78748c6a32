"""Segmenting what a DICOMweb query finds, in Debian's Orthanc."""

from pathlib import Path

from orthanc_session import needs_orthanc, run_in_orthanc


@needs_orthanc
def test_query_in_orthanc():
    run_in_orthanc(Path(__file__).with_name("web_cases.py"), passed=1)

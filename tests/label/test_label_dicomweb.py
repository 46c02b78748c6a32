"""MONAI Label's DICOMweb store: a real PACS (Debian's Orthanc) and a real server beside it."""

from pathlib import Path

import pytest
from label_server import INSTALLED, REASON
from orthanc_session import needs_orthanc, run_in_orthanc


@pytest.mark.skipif(not INSTALLED, reason=REASON)
@needs_orthanc
def test_label_over_a_pacs():
    run_in_orthanc(Path(__file__).with_name("label_dicomweb_cases.py"), passed=1)

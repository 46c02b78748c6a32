"""MONAI Label's DICOMweb store: a real PACS (Debian's Orthanc) and a real server beside it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from label_server import INSTALLED, REASON

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("label_dicomweb_cases.py")
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = os.environ.get("ORTHANC_DICOMWEB", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.mark.xdist_group("label")
@pytest.mark.skipif(not INSTALLED, reason=REASON)
@pytest.mark.skipif(
    not ORTHANC or not Path(PLUGIN).exists(),
    reason="Orthanc is not installed: apt install orthanc orthanc-dicomweb, or INSTALL_SERVERS=1 bash scripts/test.sh",
)
def test_label_over_a_pacs():
    command = ["bash", str(ROOT / "scripts" / "orthanc.sh"), sys.executable, "-m", "pytest", str(CASES), "-q", "-x"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    assert re.search(r"^1 passed", result.stdout, re.M), result.stdout

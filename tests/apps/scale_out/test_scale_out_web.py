"""Segmenting what a DICOMweb query finds, in Debian's Orthanc."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_orthanc import ORTHANC, PLUGIN

ROOT = Path(__file__).parents[3]
CASES = Path(__file__).with_name("web_cases.py")


@pytest.mark.xdist_group("slow")
@pytest.mark.skipif(
    not ORTHANC or not Path(PLUGIN).exists(),
    reason="Orthanc is not installed: apt install orthanc orthanc-dicomweb, or INSTALL_SERVERS=1 bash scripts/test.sh",
)
def test_query_in_orthanc():
    command = ["bash", str(ROOT / "scripts" / "orthanc.sh"), sys.executable, "-m", "pytest", str(CASES), "-q", "-x"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    assert re.search(r"^1 passed", result.stdout, re.M), result.stdout

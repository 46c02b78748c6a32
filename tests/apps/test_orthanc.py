"""A real PACS: Debian's Orthanc, started by scripts/orthanc.sh with a throw-away store."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("orthanc_cases.py")
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = os.environ.get("ORTHANC_DICOMWEB", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.mark.skipif(
    not ORTHANC or not Path(PLUGIN).exists(),
    reason="Orthanc is not installed: apt install orthanc orthanc-dicomweb, or INSTALL_SERVERS=1 bash scripts/test.sh",
)
def test_round_trip():
    command = ["bash", str(ROOT / "scripts" / "orthanc.sh"), sys.executable, "-m", "pytest", str(CASES), "-q", "-x"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    assert re.search(r"^3 passed", result.stdout, re.M), result.stdout


def test_script_says_what_is_missing(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "ORTHANC_DICOMWEB": str(tmp_path / "absent.so"), "ORTHANC_INSIDE": "1"}
    script = ["bash", str(ROOT / "scripts" / "orthanc.sh"), "true"]
    result = subprocess.run(script, env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: Orthanc") and "apt install" in line

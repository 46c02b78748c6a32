"""Test cases inside a session with Debian's Orthanc, started by scripts/orthanc.sh with a throw-away store."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "orthanc.sh"
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = os.environ.get("ORTHANC_DICOMWEB", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

needs_orthanc = pytest.mark.skipif(
    not ORTHANC or not Path(PLUGIN).exists(),
    reason="Orthanc is not installed: apt install orthanc orthanc-dicomweb, or INSTALL_SERVERS=1 bash scripts/test.sh",
)


def run_in_orthanc(cases: Path, passed: int) -> None:
    """Run a file of cases beside Orthanc; all ``passed`` of them must pass."""
    command = ["bash", str(SCRIPT), sys.executable, "-m", "pytest", str(cases), "-q", "-x"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    assert re.search(rf"^{passed} passed", result.stdout, re.M), result.stdout

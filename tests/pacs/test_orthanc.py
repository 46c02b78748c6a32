"""A real PACS: Debian's Orthanc, started by scripts/orthanc.sh with a temporary store."""

import subprocess
from pathlib import Path

from orthanc_session import SCRIPT, needs_orthanc, run_in_orthanc


@needs_orthanc
def test_round_trip():
    run_in_orthanc(Path(__file__).with_name("orthanc_cases.py"), passed=3)


def test_script_reports_missing_packages(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "ORTHANC_DICOMWEB": str(tmp_path / "absent.so"), "ORTHANC_INSIDE": "1"}
    result = subprocess.run(["bash", str(SCRIPT), "true"], env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: Orthanc") and "apt install" in line

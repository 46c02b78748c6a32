"""From the DICOM file to masks costs little more than the network: the benchmark's ratio in small, processor time."""

from experiments.benchmark.end_to_end import make_masks
from experiments.benchmark.files import JPEG, phantom_frames, write_dicom
from experiments.benchmark.interleave import Candidate, measure_interleaved

FRAMES = 4
ROOM = 2.5
"""A quiet computer gives 1.2 to 1.3, one whose cores are shared up to 1.7; a step that became slow gives more."""


def test_reading_and_packing_cost_little_beside_the_network(tmp_path):
    path = write_dicom(tmp_path / "cine.dcm", phantom_frames(tmp_path, FRAMES, 512)[0], JPEG, 2 * FRAMES)
    options = {"runtime": "auto", "precision": "fp32", "paths": {JPEG: str(path)}, "frames": 2 * FRAMES}
    options |= {"network_size": None, "threads": 1, "network": True}
    make = f"{make_masks.__module__}:{make_masks.__name__}"
    rows = measure_interleaved([Candidate("auto", make, options, 1, 3)], 30, print)
    found = {row.case: min(row.values("cpu_s")) for row in rows}
    ratio = found[JPEG] / found["network"]
    print(f"file to masks over network, processor time: {ratio:.2f}")
    assert 0.9 < ratio < ROOM

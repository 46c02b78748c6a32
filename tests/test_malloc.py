"""Free memory is returned to the system, or kept by the process on request."""

import platform
import subprocess
import sys

import pytest

from monai_agglo import malloc

TRIM = """
import re
from pathlib import Path
from monai_agglo.malloc import give_back

def held_mb():
    return int(re.search(r"VmRSS:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

kept, large = [], []
for _ in range(800):  # 80 MB of blocks below the mmap threshold, each followed by a live one
    large.append(bytearray(b"x" * (100 << 10)))
    kept.append(bytearray(b"x" * 700))
del large
before = held_mb()
print(give_back(), before - held_mb())
"""


def test_free_pages_between_live_blocks_are_returned():
    if not malloc.give_back():
        pytest.skip("the C library has no malloc_trim")
    done = subprocess.run([sys.executable, "-c", TRIM], capture_output=True, text=True, check=True)
    able, freed = done.stdout.split()
    assert able == "True" and float(freed) > 50


def test_give_back_is_a_no_op_without_malloc_trim(monkeypatch):
    monkeypatch.setattr(malloc, "_trim", lambda: None)
    assert malloc.give_back() is False


FAULTS = """
import resource, torch
from monai_agglo.engines import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(16 << 20).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual, done = faults(), keep_freed_memory()
faults()
print(done, usual, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_pages_are_reused():
    out = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout.split()
    done, usual, kept = out[-3] == "True", int(out[-2]), int(out[-1])
    assert done and kept < usual / 10, out


def test_keep_freed_memory_is_a_no_op_on_other_systems(monkeypatch):
    monkeypatch.setattr(malloc.sys, "platform", "darwin")
    assert not malloc.keep_freed_memory()

"""Free heap memory is returned to the operating system on Linux."""

import subprocess
import sys

import pytest

from monai_agglo import malloc

CODE = """
import re
from pathlib import Path
from monai_agglo.malloc import give_back

def held_mb():
    return int(re.search(r"VmRSS:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

kept, large = [], []
for _ in range(800):  # 80 MB of blocks below the mmap threshold, interleaved with long-lived ones
    large.append(bytearray(b"x" * (100 << 10)))
    kept.append(bytearray(b"x" * 700))
del large
before = held_mb()
print(give_back(), before - held_mb())
"""


def test_fragmented_heap_is_trimmed():
    if not malloc.give_back():
        pytest.skip("this C library has no malloc_trim")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    able, freed = done.stdout.split()
    assert able == "True" and float(freed) > 50


def test_without_malloc_trim(monkeypatch):
    monkeypatch.setattr(malloc, "_trim", lambda: None)
    assert malloc.give_back() is False

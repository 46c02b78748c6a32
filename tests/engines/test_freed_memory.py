"""Freed memory that stays with the process is not asked for again."""

import platform
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
def test_pages_are_not_given_back():
    out = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout.split()
    done, usual, kept = out[-3] == "True", int(out[-2]), int(out[-1])
    assert done and kept < usual / 10, out


def test_elsewhere_nothing_happens(monkeypatch):
    from monai_agglo.engines import freed_memory

    monkeypatch.setattr(freed_memory.sys, "platform", "darwin")
    assert not freed_memory.keep_freed_memory()

"""Cases for the tests of the benchmark's processes."""

import os
import time

from experiments.benchmark.worker import Case


def make(name, log, pause=0.0, ballast_mb=0, threads=1, once=True):
    """A case that notes each call in a file, waits, and holds some memory while it runs."""

    def call():
        with open(log, "a") as stream:
            stream.write(f"{name}\n")
        held = bytearray(ballast_mb << 20)
        for place in range(0, len(held), 4096):
            held[place] = 1
        time.sleep(pause)
        return {"threads_variable": os.environ["OMP_NUM_THREADS"]}

    return {"case": Case(call, 2, threads, {"weights": "none"}, once=once)}


def broken(when):
    """A candidate that fails: while it is made, while it runs, or by being killed."""
    if when == "make":
        raise ImportError("the runtime is not installed (pip install it)")

    def call():
        if when == "kill":
            os.kill(os.getpid(), 9)
        raise RuntimeError("out of luck")

    return {"case": Case(call, once=True)}

"""The benchmark, ``python -m experiments.benchmark``. Names load on first use: a worker imports only what it runs."""

from importlib import import_module

_HOME = dict.fromkeys(("SUITES", "BenchReport", "bench", "write_report"), ".run")

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)

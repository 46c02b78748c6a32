"""Studies and benchmarks: they call the package as anybody else does, and are not part of the wheel."""

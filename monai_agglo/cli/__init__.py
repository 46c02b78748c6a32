"""The command line, one module per group of commands.

A command is a function: its docstring is the help text, its body declares the arguments and returns a call of a public
function. Packages are imported inside that call, so that ``--help`` answers at once.
"""

import argparse
from collections.abc import Callable

__all__ = ["Run"]

Run = Callable[[argparse.Namespace], "int | None"]
"""What a command does with its arguments; the exit code, 0 when None."""

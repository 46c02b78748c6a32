"""Faces of packages whose names load on first use.

Like ``lazy_loader.attach``, without the dependency: a packed bundle carries this package into any environment.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["attach", "warn_moved"]


def attach(
    package: str, submod_attrs: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Module-level ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: ``__name__`` of the package.
        submod_attrs: public names by sub-module, relative to the package, or by full dotted name of another module.

    Returns:
        The three, to be assigned in the package's ``__init__``.
    """
    both = sorted({name for names in submod_attrs.values() for name in names} & set(submod_attrs))
    if both:  # importing the module would put it in the place of the name
        raise ValueError(f"{package}: {both[0]} is a module and a name in it; rename one")
    homes = {name: module for module, names in submod_attrs.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        return getattr(import_module(home if home.startswith("monai_agglo.") else f"{package}.{home}"), name)

    return __getattr__, lambda: sorted({"__name__", *homes}), sorted(homes)


@cache
def warn_moved(old: str, new: str) -> None:
    """Tell a user of an old name the new one, once per process.

    Args:
        old: full dotted name that a config or a script still holds.
        new: where it lies now.
    """
    warnings.warn(f"{old} is now {new}", FutureWarning, stacklevel=3)

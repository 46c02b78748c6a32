"""Balancers by name."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from ..names import BALANCER_CLASSES, check_balancer_name
from .base import Balancer

__all__ = ["BALANCERS", "make_balancer"]


def _class(target: str) -> type[Balancer]:
    module, _, attribute = target.partition(":")
    return getattr(import_module(f".{module}", __package__), attribute)


BALANCERS: dict[str, type[Balancer]] = {name: _class(target) for name, target in BALANCER_CLASSES.items()}


def make_balancer(name: str, n_teachers: int, **options: Any) -> Balancer:
    """Make a balancer.

    Args:
        name: a key of :data:`BALANCERS`.
        n_teachers: T.
        **options: of its class.

    Returns:
        The balancer.

    Raises:
        ValueError: for an unknown name, an unknown or missing option, or one out of range.
    """
    check_balancer_name(name)
    kind = BALANCERS[name]
    try:
        inspect.signature(kind).bind(n_teachers, **options)
    except TypeError as error:
        raise ValueError(f"balancer {name}: {error}; see the options of {kind.__name__}") from None
    return kind(n_teachers, **options)

"""Errors of prediction: one sentence with the reason and what to do."""

__all__ = ["BundleError", "GraphError"]


class BundleError(ValueError):
    """A bundle that cannot be run."""


class GraphError(RuntimeError):
    """A network that has no graph here."""

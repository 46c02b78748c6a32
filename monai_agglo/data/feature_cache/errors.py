"""The error of the feature cache."""

__all__ = ["FeatureCacheError"]


class FeatureCacheError(ValueError):
    """A feature cache cannot be built or read: one sentence says what is wrong, where, and what to do."""

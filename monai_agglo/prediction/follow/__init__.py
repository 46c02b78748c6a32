"""Segmentation of frames as they arrive: from a growing file, a pipe, a folder that fills, a video device."""

from .run import FollowReport, follow

__all__ = ["FollowReport", "follow"]

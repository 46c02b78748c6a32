from .clip_gradients import ClipGradients
from .provenance import git_revision, provenance, run_name
from .resumable_checkpoint import BestWeights, ResumableCheckpoint, save_atomically
from .structure_metric import StructureMetric
from .weight_average import AttachHandler, WeightAverage

__all__ = [
    "AttachHandler",
    "BestWeights",
    "ClipGradients",
    "ResumableCheckpoint",
    "StructureMetric",
    "WeightAverage",
    "git_revision",
    "provenance",
    "run_name",
    "save_atomically",
]

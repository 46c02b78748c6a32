from .clip_gradients import ClipGradients
from .evaluation_report import EvaluationReport, command_line
from .provenance import git_revision, provenance, run_name
from .resumable_checkpoint import BestWeights, ResumableCheckpoint, save_atomically
from .run_tracker import RunTracker
from .structure_metric import StructureMetric
from .weight_average import AttachHandler, WeightAverage
from .weights_loader import WeightsLoader

__all__ = [
    "AttachHandler",
    "BestWeights",
    "ClipGradients",
    "EvaluationReport",
    "ResumableCheckpoint",
    "RunTracker",
    "StructureMetric",
    "WeightAverage",
    "WeightsLoader",
    "command_line",
    "git_revision",
    "provenance",
    "run_name",
    "save_atomically",
]

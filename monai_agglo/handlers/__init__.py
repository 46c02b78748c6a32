from .clip_gradients import ClipGradients
from .evaluation_report import EvaluationReport, command_line
from .feature_cache_builder import FeatureCacheBuilder
from .provenance import git_revision, provenance, run_name
from .resumable_checkpoint import BestWeights, ResumableCheckpoint, save_atomically
from .run_tracker import RunTracker
from .structure_metric import StructureMetric
from .teacher_weights import TeacherWeightsLoader
from .weight_average import AttachHandler, WeightAverage
from .weights_loader import WeightsLoader

__all__ = [
    "AttachHandler",
    "BestWeights",
    "ClipGradients",
    "EvaluationReport",
    "FeatureCacheBuilder",
    "ResumableCheckpoint",
    "RunTracker",
    "StructureMetric",
    "TeacherWeightsLoader",
    "WeightAverage",
    "WeightsLoader",
    "command_line",
    "git_revision",
    "provenance",
    "run_name",
    "save_atomically",
]

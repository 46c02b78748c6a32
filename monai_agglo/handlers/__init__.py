from monai_agglo.engines.weight_average import AttachHandler, WeightAverage

from .clip_gradients import ClipGradients
from .evaluation_report import EvaluationReport, command_line
from .feature_cache_builder import FeatureCacheBuilder
from .feature_term import FeatureTerm
from .learners import LearnerAverages, LearnersLoader, RetentionReport, SaveStudents
from .prompt_student_loader import PromptStudentLoader
from .provenance import git_revision, provenance, run_name
from .resumable_checkpoint import BestWeights, ResumableCheckpoint, save_atomically
from .retention import RetentionMetric
from .run_tracker import RunTracker
from .structure_metric import StructureMetric
from .student_loader import EncoderLoader, StudentLoader, student_hash
from .teacher_losses import IterationScalars, TeacherLosses, metric_name
from .teacher_weights import TeacherWeightsLoader
from .weight_collapse import WeightCollapse
from .weights_loader import WeightsLoader

__all__ = [
    "AttachHandler",
    "BestWeights",
    "ClipGradients",
    "EncoderLoader",
    "EvaluationReport",
    "FeatureCacheBuilder",
    "FeatureTerm",
    "IterationScalars",
    "LearnerAverages",
    "LearnersLoader",
    "PromptStudentLoader",
    "ResumableCheckpoint",
    "RetentionMetric",
    "RetentionReport",
    "RunTracker",
    "SaveStudents",
    "StructureMetric",
    "StudentLoader",
    "TeacherLosses",
    "TeacherWeightsLoader",
    "WeightAverage",
    "WeightCollapse",
    "WeightsLoader",
    "command_line",
    "git_revision",
    "metric_name",
    "provenance",
    "run_name",
    "save_atomically",
    "student_hash",
]

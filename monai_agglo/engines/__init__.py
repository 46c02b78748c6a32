from monai_agglo.malloc import keep_freed_memory

from .agglomeration_trainer import AgglomerationTrainer
from .distillation_batch import DistillationBatch, TargetReader
from .learner import Learner, check_strides, make_loss, warmup_cosine
from .retention_evaluator import RetentionEvaluator

__all__ = [
    "AgglomerationTrainer",
    "DistillationBatch",
    "Learner",
    "RetentionEvaluator",
    "TargetReader",
    "check_strides",
    "keep_freed_memory",
    "make_loss",
    "warmup_cosine",
]

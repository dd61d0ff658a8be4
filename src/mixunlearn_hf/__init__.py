"""Adversarial Mixup Unlearning for Hugging Face models."""

from . import objectives
from .data.digests import write_digests
from .data.parts import ForgetRetainSplits
from .data.record import SplitRecord
from .data.splits import split_forget_retain
from .mixblock import MixBlock
from .related.find import find_related
from .related.found import RelatedRows
from .trainer.base import UnlearningTrainer
from .trainer.config import MixUnlearnConfig, UnlearningConfig
from .trainer.mixunlearn import MixUnlearnTrainer

__all__ = [
    "ForgetRetainSplits",
    "MixBlock",
    "MixUnlearnConfig",
    "MixUnlearnTrainer",
    "RelatedRows",
    "SplitRecord",
    "UnlearningConfig",
    "UnlearningTrainer",
    "find_related",
    "objectives",
    "split_forget_retain",
    "write_digests",
]

"""Adversarial Mixup Unlearning for Hugging Face models."""

from . import objectives
from .data.splits import split_forget_retain
from .mixblock import MixBlock
from .trainer.base import UnlearningTrainer
from .trainer.config import MixUnlearnConfig, UnlearningConfig
from .trainer.mixunlearn import MixUnlearnTrainer

__all__ = [
    "MixBlock",
    "MixUnlearnConfig",
    "MixUnlearnTrainer",
    "UnlearningConfig",
    "UnlearningTrainer",
    "objectives",
    "split_forget_retain",
]

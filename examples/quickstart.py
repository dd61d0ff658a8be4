"""Forget a class, then a tenth of the rows, and compare both with retraining from scratch.

    python examples/quickstart.py

A small ResNet learns scikit-learn's handwritten digits: nothing is downloaded, and two CPU cores take about a minute.
Writes the unlearned model, `results.json` and `results.png` to outputs/quickstart.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from datasets import Array3D, ClassLabel, Dataset, DatasetDict, Features
from sklearn.datasets import load_digits
from transformers import (
    AutoModelForImageClassification,
    PreTrainedModel,
    PrinterCallback,
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer, split_forget_retain

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

OUTPUT = Path("outputs/quickstart")
QUIET = {"disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no", "report_to": "none"}
COLORS = {"original": "#8c8c8c", "unlearned": "#0072b2", "retrained": "#d55e00"}  # told apart by colour-blind readers


def load_rows(seed: int) -> DatasetDict:
    """1,797 digits of 8x8 pixels, enlarged to 16x16, since a ResNet's stem shrinks images fourfold."""
    digits = load_digits()
    pixels = np.kron(digits.images / 8 - 1, np.ones((1, 2, 2)))[:, None].astype(np.float32)  # (1797, 1, 16, 16)
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    features = Features({"pixel_values": Array3D((1, 16, 16), "float32"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"pixel_values": pixels, "label": digits.target}, features).with_format("torch")
    return rows.train_test_split(test_size=0.2, stratify_by_column="label", seed=seed)


def train(rows: Dataset, epochs: int, seed: int) -> tuple[PreTrainedModel, float]:
    """A new classifier trained on `rows`, and the seconds it took."""
    start = time.perf_counter()
    set_seed(seed)
    config = ResNetConfig(
        num_channels=1, embedding_size=32, hidden_sizes=[32, 64], depths=[1, 1], layer_type="basic", num_labels=10
    )
    args = TrainingArguments(
        str(OUTPUT / "training"),
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        learning_rate=1e-3,
        seed=seed,
        **QUIET,
    )
    trainer = Trainer(ResNetForImageClassification(config), args, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model, time.perf_counter() - start


@torch.no_grad()
def predict(model: PreTrainedModel, rows: Dataset) -> torch.Tensor:
    """Logits, `(N, 10)`."""
    return model.eval()(rows["pixel_values"][:].to(model.device)).logits.cpu()


def accuracy(model: PreTrainedModel, rows: Dataset) -> float:
    return 100 * (predict(model, rows).argmax(-1) == rows["label"][:]).float().mean().item()

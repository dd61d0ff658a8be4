"""Two folders as somebody with a deployed classifier has them: digits with users, and texts with users."""

from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import texts
import torch
import yaml
from command_line import CANARY, NAMES
from PIL import Image
from sklearn.datasets import load_digits
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessorPil,
)

from mixunlearn_hf.cli.main import main

PLAIN = {"use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "report_to": "none"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model`, `train.parquet`, `test.parquet`, `request.yaml`: digits of 60 users, and a ResNet that knows them."""
    folder = tmp_path_factory.mktemp("digits")
    loaded = load_digits()
    pixels = np.kron(loaded.images * 15.9, np.ones((1, 2, 2))).astype(np.uint8)[:900]  # (900, 16, 16)
    features = datasets.Features(
        image=datasets.Image(), user=datasets.Value("string"), label=datasets.ClassLabel(names=NAMES)
    )
    columns = {
        "image": [Image.fromarray(one) for one in pixels],
        "user": [f"{CANARY}-{i % 60}" for i in range(900)],
        "label": loaded.target[:900],
    }
    rows = datasets.Dataset.from_dict(columns, features=features)
    rows.select(range(600)).to_parquet(folder / "train.parquet")
    rows.select(range(600, 900)).to_parquet(folder / "test.parquet")
    torch.manual_seed(0)
    config = ResNetConfig(
        num_channels=1,
        embedding_size=16,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        layer_type="basic",
        num_labels=10,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    model = ResNetForImageClassification(config)
    _learn(model, torch.from_numpy(pixels[:600, None] / 127.5 - 1).float(), torch.from_numpy(loaded.target[:600]))
    model.save_pretrained(folder / "model")
    ViTImageProcessorPil(do_resize=False, image_mean=[0.5], image_std=[0.5]).save_pretrained(folder / "model")
    settings = {
        "data": {name: str(folder / path) for name, path in _FILES.items()},
        "request": {"classes": ["zero"]},
        "training": {"num_train_epochs": 10, "per_device_train_batch_size": 16, "learning_rate": 1e-3, **PLAIN},
    }
    (folder / "request.yaml").write_text(yaml.safe_dump(settings))
    return folder


_FILES = {"model": "model", "train_file": "train.parquet", "test_file": "test.parquet"}


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for texts, whose model is untrained."""
    folder = tmp_path_factory.mktemp("sentences")
    rows = texts.texts()
    rows = rows.map(lambda row: {"text": f"{CANARY} {row['text']}", "user": f"{CANARY}-{row['user']}"})
    rows.to_parquet(folder / "train.parquet")
    words = sorted({word for text in rows["text"] for word in text.lower().split()} - {CANARY})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=len(texts.TOPICS),
    )
    BertForSequenceClassification(config).save_pretrained(folder / "model")
    BertTokenizer(vocabulary, model_max_length=32).save_pretrained(folder / "model")
    settings = {"model": str(folder / "model"), "train_file": str(folder / "train.parquet"), "input_column": "text"}
    settings |= {**PLAIN, "max_steps": 2}
    (folder / "request.yaml").write_text(yaml.safe_dump(settings))
    return folder


def _learn(model: PreTrainedModel, pixels: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
    for _ in range(8):
        for batch in torch.randperm(len(labels)).split(32):
            loss = torch.nn.functional.cross_entropy(model(pixels[batch]).logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.fixture
def mixunlearn(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process; gives its exit code, output and error stream."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run

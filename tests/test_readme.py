"""The README's code runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

README = Path(__file__).parents[1] / "README.md"
CLASSES = ["airplane", "automobile", "bird"]


def folder(path: Path) -> None:
    """What the code expects beside it: a classifier and two Parquet files of images."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4,
        num_labels=3,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(path / "my-classifier")
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(path / "my-classifier")
    rng = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    for name, count in (("train", 24), ("test", 9)):
        images = [Image.fromarray(rng.integers(0, 255, (10, 9, 3), dtype=np.uint8)) for _ in range(count)]
        rows = {"image": images, "label": [i % 3 for i in range(count)]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(path / f"{name}.parquet")


@pytest.mark.slow
def test_the_code_of_the_readme_runs_as_printed(tmp_path: Any) -> None:
    folder(tmp_path)
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.S)[1]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "eval_forget_accuracy" in run.stdout and "eval_test_accuracy" in run.stdout
    AutoModelForImageClassification.from_pretrained(tmp_path / "out")

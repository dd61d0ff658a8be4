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
import yaml
from PIL import Image
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from mixunlearn_hf.cli.main import main

README = Path(__file__).parents[1] / "README.md"
CLASSES = ["airplane", "automobile", "bird"]
CLOTHES = ["0", "1", "2"]  # as the classes of Fashion-MNIST are called


def folder(path: Path, model: str = "my-classifier", data: str = ".", names: list[str] = CLASSES) -> None:
    """What the code expects beside it: a classifier and two Parquet files of images."""
    (path / data).mkdir(exist_ok=True)
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4,
        num_labels=3,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(path / model)
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(path / model)
    rng = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    for name, count in (("train", 24), ("test", 9)):
        images = [Image.fromarray(rng.integers(0, 255, (10, 9, 3), dtype=np.uint8)) for _ in range(count)]
        rows = {"image": images, "label": [i % 3 for i in range(count)]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(path / data / f"{name}.parquet")


@pytest.mark.slow
def test_the_code_of_the_readme_runs_as_printed(tmp_path: Any) -> None:
    folder(tmp_path)
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.S)[1]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "eval_forget_accuracy" in run.stdout and "eval_test_accuracy" in run.stdout
    AutoModelForImageClassification.from_pretrained(tmp_path / "out")


def test_the_request_of_the_readme_is_carried_out_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    request = re.search(r"```yaml\n(.*?)```", README.read_text(), re.S)[1]
    commands = re.findall(r"^mixunlearn (.*?) *(?:#.*)?$", README.read_text(), re.M)
    assert len(request.splitlines()) < 15
    assert [command.split()[0] for command in commands] == ["plan", "run", "evaluate"]
    settings = yaml.safe_load(request)
    folder(tmp_path, settings["model"], str(Path(settings["train_file"]).parent), CLOTHES)
    (tmp_path / "request.yaml").write_text(request + "use_cpu: true\ndataloader_pin_memory: false\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for command in commands:
        assert main(command.split()) == 0, capsys.readouterr().err
    assert "accuracy on" in capsys.readouterr().out
    AutoModelForImageClassification.from_pretrained(tmp_path / settings["output_dir"])

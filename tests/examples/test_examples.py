"""The examples run as a reader runs them, on tiny data and models that are written here."""

import inspect
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from datasets import ClassLabel, Dataset, Features, Image, Value
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
IMAGE_SCRIPT = EXAMPLES / "unlearn_image_classification.py"
TEXT_SCRIPT = EXAMPLES / "unlearn_text_classification.py"
AUDIO_SCRIPT = EXAMPLES / "unlearn_audio_classification.py"
NAMES = ["cat", "dog", "fox"]
COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
WORDS = ["purr", "bark", "dig"]
PLAIN = {
    "use_cpu": True,
    "dataloader_pin_memory": False,
    "disable_tqdm": True,
    "report_to": "none",
    "save_strategy": "no",
    "per_device_train_batch_size": 4,
    "max_steps": 2,
}
FLAGS = [f"--{name}={value}" for name, value in PLAIN.items()]


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        num_labels=len(NAMES),
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "they", *WORDS])}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        num_labels=len(NAMES),
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer(vocabulary, model_max_length=8).save_pretrained(folder)
    return str(folder)


def images(count: int) -> Dataset:
    rng = np.random.default_rng(0)
    labels = [i % len(NAMES) for i in range(count)]
    pixels = [(np.asarray(COLORS[label]) + rng.integers(-30, 30, (16, 16, 3))).astype(np.uint8) for label in labels]
    features = Features({"img": Image(), "label": ClassLabel(names=NAMES)})
    return Dataset.from_dict({"img": pixels, "label": labels}, features)


def texts(count: int) -> Dataset:
    labels = [i % len(NAMES) for i in range(count)]
    lines = [" ".join(["they", WORDS[label]] * (1 + i % 2)) for i, label in enumerate(labels)]
    lines = [f"{line} they{' they' * (i // 6)}" for i, line in enumerate(lines)]  # all different
    features = Features({"title": Value("string"), "text": Value("string"), "label": ClassLabel(names=NAMES)})
    return Dataset.from_dict({"title": ["x"] * count, "text": lines, "label": labels}, features)


def parquet(folder: Path, rows: Dataset) -> list[str]:
    """Arguments that name Parquet files with the first rows to train and the others to test on."""
    rows.select(range(24)).to_parquet(folder / "train.parquet")
    rows.select(range(24, len(rows))).to_parquet(folder / "test.parquet")
    return ["--train_file", str(folder / "train.parquet"), "--test_file", str(folder / "test.parquet")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs a script in this process, which saves the seconds that imports take; gives its output folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def run(script: Path, *arguments: object) -> Path:
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments), f"--output_dir={tmp_path / 'output'}"])
        runpy.run_path(str(script), run_name="__main__")
        return tmp_path / "output"

    return run


def in_a_process(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HOME": str(cwd / "cache"), "HF_DATASETS_CACHE": str(cwd / "cache")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def accuracies(output: Path) -> dict[str, dict[str, float]]:
    results = json.loads((output / "accuracy.json").read_text())
    assert all(0 <= row["before"] <= 1 and 0 <= row["after"] <= 1 for row in results.values())
    return results


def settings_of(output: Path) -> Any:
    return torch.load(output / "training_args.bin", weights_only=False)


@pytest.mark.slow
def test_quickstart_runs_over_an_earlier_run_and_prints_one_table(tmp_path: Path) -> None:
    output = tmp_path / "outputs" / "quickstart"
    (output / "model").mkdir(parents=True)
    (output / "model" / "model.safetensors").write_bytes(b"of an earlier run")
    done = in_a_process(sys.executable, EXAMPLES / "quickstart.py", "--tiny", cwd=tmp_path)
    assert done.stderr == ""  # no logs, no progress bars, no warnings
    assert len(done.stdout.splitlines()) < 25
    results = json.loads((output / "results.json").read_text())
    assert list(results) == ["class zero", "10 % of the rows"]
    for measured in results.values():
        for name, values in measured.items():
            assert name in done.stdout
            assert list(values) == ["original", "unlearned", "retrained"]
    assert (output / "results.png").read_bytes().startswith(b"\x89PNG")
    AutoModelForImageClassification.from_pretrained(output / "model")


def test_images_from_parquet_files(
    tmp_path: Path, image_model: str, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = parquet(tmp_path, images(30))
    output = run(IMAGE_SCRIPT, "--model_name_or_path", image_model, *files, "--forget_classes", "cat", "2", *FLAGS)
    results = accuracies(output)
    assert {name: row["rows"] for name, row in results.items()} == {
        "forget": 16,
        "retain": 8,
        "test_forget": 4,
        "test_retain": 2,
    }
    table = capsys.readouterr().out.split("accuracy on")[1]
    assert all(name in table for name in results)
    AutoImageProcessor.from_pretrained(output)
    unlearned = AutoModelForImageClassification.from_pretrained(output).state_dict()
    original = AutoModelForImageClassification.from_pretrained(image_model).state_dict()
    assert any(not torch.equal(unlearned[name], original[name]) for name in original)


def test_images_from_a_folder_and_a_yaml_file_that_the_command_line_overrides(
    tmp_path: Path, image_model: str, run: Callable[..., Path]
) -> None:
    for i, row in enumerate(images(24)):
        path = tmp_path / "images" / ("train" if i < 18 else "test") / NAMES[row["label"]] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        row["img"].save(path)
    settings = {"model_name_or_path": image_model, "dataset_name": str(tmp_path / "images"), **PLAIN}
    settings |= {"forget_classes": ["dog"], "forget_fraction": 0.5, "max_eval_rows": 5, "seed": 1, "max_steps": 1}
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings) + "learning_rate: 1e-5\nlr_scheduler_kwargs: {}\n")  # 1e-5: text to YAML
    output = run(IMAGE_SCRIPT, file, "--seed", 7)
    assert {name: row["rows"] for name, row in accuracies(output).items()} == {"forget": 3, "retain": 5, "test": 3}
    assert (settings_of(output).learning_rate, settings_of(output).seed) == (1e-5, 7)


@pytest.mark.slow
def test_images_under_accelerate_launch(tmp_path: Path, image_model: str) -> None:
    settings = {"model_name_or_path": image_model, "forget_fraction": 0.25, "output_dir": "output", **PLAIN}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--cpu"]
    files = parquet(tmp_path, images(30))
    in_a_process(*launch, IMAGE_SCRIPT, "settings.yaml", *files, cwd=tmp_path)
    assert set(accuracies(tmp_path / "output")) == {"forget", "retain", "test"}


def test_texts_from_parquet_files(tmp_path: Path, text_model: str, run: Callable[..., Path]) -> None:
    arguments = ["--model_name_or_path", text_model, *parquet(tmp_path, texts(30)), "--forget_classes", "fox", *FLAGS]
    with pytest.raises(SystemExit, match=r"\['title', 'text'\].*--text_column"):
        run(TEXT_SCRIPT, *arguments)
    output = run(TEXT_SCRIPT, *arguments, "--text_column", "text")
    assert set(accuracies(output)) == {"forget", "retain", "test_forget", "test_retain"}
    AutoTokenizer.from_pretrained(output)
    AutoModelForSequenceClassification.from_pretrained(output)


def test_texts_from_a_folder_and_a_yaml_file(tmp_path: Path, text_model: str, run: Callable[..., Path]) -> None:
    (tmp_path / "texts").mkdir()
    parquet(tmp_path / "texts", texts(30).remove_columns("title"))
    (tmp_path / "texts" / "test.parquet").unlink()
    settings = {"model_name_or_path": text_model, "dataset_name": str(tmp_path / "texts"), **PLAIN}
    settings |= {"forget_fraction": 0.25, "max_length": 4, "optim": None}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    output = run(TEXT_SCRIPT, "--config", tmp_path / "settings.yaml")
    assert {name: row["rows"] for name, row in accuracies(output).items()} == {"forget": 6, "retain": 18}


def test_sounds_that_are_made_on_the_spot(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second run over the first
        output = run(AUDIO_SCRIPT, "--tiny", "--forget", "siren", "--seed", 3)
    results = json.loads((output / "accuracy.json").read_text())
    assert [row["sounds"] for row in results.values()] == [8, 40, 8, 40]
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bars, no warnings
    table = printed.out.split("accuracy on")[-1]
    for name, row in results.items():
        assert list(row) == ["sounds", "before", "after", "retrained"] and name in table
    model = AutoModelForAudioClassification.from_pretrained(output / "model")
    assert model.config.id2label[2] == "siren"
    assert AutoFeatureExtractor.from_pretrained(output / "model").num_mel_bins == model.config.num_mel_bins


def test_the_sounds_are_the_same_for_the_same_seed() -> None:
    make = runpy.run_path(str(AUDIO_SCRIPT))["make_sounds"]
    first, again, other = make(2, 0)["waveform"][:], make(2, 0)["waveform"][:], make(2, 1)["waveform"][:]
    assert first == again and first != other
    assert all(8_000 <= len(samples) <= 16_000 and np.abs(samples).max() < 1.2 for samples in first)


@pytest.mark.parametrize("script", [IMAGE_SCRIPT, TEXT_SCRIPT], ids=lambda script: script.stem)
def test_a_setting_nobody_knows_is_refused(
    script: Path, tmp_path: Path, run: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--model_name_or_path=m", "--dataset_name=d", "--forget_fraction=0.1"]
    (tmp_path / "settings.yaml").write_text("learning_rte: 0.1\n")
    for given in (["settings.yaml", *arguments], [*arguments, "--learning=0.1"]):  # not taken for an abbreviation
        with pytest.raises(SystemExit):
            run(script, *(tmp_path / word if word.endswith(".yaml") else word for word in given))
        assert "unknown settings: --learning" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted((EXAMPLES / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_yaml_files_are_understood(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = IMAGE_SCRIPT if file.stem.startswith("image") else TEXT_SCRIPT
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), str(file), "--use_cpu"])
    arguments, config = runpy.run_path(str(script))["parse_arguments"]()
    for name, value in yaml.safe_load(file.read_text()).items():
        understood = getattr(arguments, name, getattr(config, name, None))
        assert understood == type(understood)(value), name


def test_both_scripts_read_their_arguments_alike() -> None:
    sources = [inspect.getsource(runpy.run_path(str(s))["parse_arguments"]) for s in (IMAGE_SCRIPT, TEXT_SCRIPT)]
    assert sources[0] == sources[1]

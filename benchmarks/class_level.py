"""Forget one class: the original, the retrained and the unlearned model side by side.

    python benchmarks/class_level.py fashion_mnist --data data
    python benchmarks/class_level.py fashion_mnist_vit --data data
    python benchmarks/class_level.py ag_news --data data
    python benchmarks/class_level.py spoken_digits --data data

A table, of a task in `tasks.py`, is made of cells, one for every seed and kind of model. A finished cell is kept as
JSON and its model beside it, so that an interrupted command goes on where it stopped. `benchmarks/README.md` says
more.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from tasks import AGNews, FashionMNIST, FashionMNISTViT, SpokenDigits
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.utils import logging

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer, split_forget_retain

TASKS: dict[str, Callable[[], Any]] = {
    task.name: task for task in (FashionMNIST, FashionMNISTViT, AGNews, SpokenDigits)
}
FORGOTTEN = 0  # the paper forgets class 0 of every data set
KINDS = {
    "original": "Original",
    "retrained": "Retrained",
    "agnostic": "MixUnlearn, label-agnostic",
    "labels": "MixUnlearn, label-aware",
}
COLUMNS = ("Train_r", "Train_f", "Test_r", "Test_f")
COSTS = {"seconds": 1, "cpu_seconds": 1, "steps": 0}  # and the digits shown
PACKAGES = ("mixunlearn-hf", "torch", "transformers", "accelerate", "datasets", "numpy")


@dataclass
class Data:
    """Encoded rows of one table: what is learned, and what the four columns are measured on."""

    train: Any
    forget: Any
    retain: Any
    measured: dict[str, Any]


def load_data(task: Any, folder: Path, validate: bool) -> Data:
    files = {split: str(folder / task.data / f"{split}.parquet") for split in ("train", "test")}
    raw = datasets.load_dataset("parquet", data_files=files)
    train = raw["train"].select(task.train_rows)
    unseen = raw["train"].select(task.validation_rows) if validate else raw["test"]
    parts = split_forget_retain(train, classes=[FORGOTTEN])
    unseen_parts = split_forget_retain(unseen, classes=[FORGOTTEN])
    forget, retain = task.encode(parts["forget"]), task.encode(parts["retain"])
    measured = {
        "Train_r": retain,
        "Train_f": forget,
        "Test_r": task.encode(unseen_parts["retain"]),
        "Test_f": task.encode(unseen_parts["forget"]),
    }
    return Data(task.encode(train), forget, retain, measured)


# ---- one cell ----


@dataclass(frozen=True)
class Options:
    """What the cells of one command share."""

    cache: Path
    validate: bool
    overwrite: bool
    changed: dict[str, Any]  # settings of the unlearning that are not the library's defaults, for tuning only


def cell(task: Any, data: Data, kind: str, seed: int, options: Options) -> dict[str, Any]:
    """Accuracies and cost of one model, read where it was computed before with the same settings."""
    name = "-".join([kind, f"seed{seed}", *(f"{key}={value}" for key, value in sorted(options.changed.items()))])
    path = options.cache / "cells" / f"{name}-{'validation' if options.validate else 'test'}.json"
    settings = _settings(task, kind, options.changed)
    if path.exists() and not options.overwrite:
        known = json.loads(path.read_text())
        if known["settings"] == settings:
            return known
    model, cost = _trained(task, data, kind, seed, name, options)
    measured = {column: 100 * accuracy(model, rows, task) for column, rows in data.measured.items()}
    result = {"kind": kind, "seed": seed, **measured, **cost, "settings": settings}
    write(path, json.dumps(result, indent=2))
    return result


def _trained(
    task: Any, data: Data, kind: str, seed: int, name: str, options: Options
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model of a cell and what its training took, from the cache where it is there."""
    folder, settings = options.cache / "models" / name, _settings(task, kind, options.changed)
    if folder.exists() and not options.overwrite:
        known = json.loads((folder / "training.json").read_text())
        if known.pop("settings") == settings:
            return task.load(str(folder)), known
    if kind in ("original", "retrained"):
        model, cost = learn(task, data.train if kind == "original" else data.retain, seed)
    else:
        as_it_is = replace(options, overwrite=False, changed={})
        original, _ = _trained(task, data, "original", seed, f"original-seed{seed}", as_it_is)
        model, cost = unlearn(task, original, data, seed, label_mode=kind, **options.changed)
    if not options.changed:
        with _finished_folder(folder) as unfinished:
            model.save_pretrained(unfinished)
            (unfinished / "training.json").write_text(json.dumps({**cost, "settings": settings}, indent=2))
        for measured in ("test", "validation"):  # these were of the model before this one
            (options.cache / "cells" / f"{name}-{measured}.json").unlink(missing_ok=True)
    return model, cost


def learn(task: Any, rows: Any, seed: int) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Train a model by the task's recipe."""
    set_seed(seed)
    model = task.model()
    with tempfile.TemporaryDirectory() as output_dir:
        args = TrainingArguments(output_dir, seed=seed, **task.recipe, **_quiet())
        trainer = Trainer(model, args, train_dataset=rows, processing_class=task.processing_class)
        return model, _timed(trainer)


def unlearn(
    task: Any, original: PreTrainedModel, data: Data, seed: int, label_mode: str, **changed: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Forget by the library's default settings, but for those in `changed`."""
    with tempfile.TemporaryDirectory() as output_dir:
        args = MixUnlearnConfig(output_dir, seed=seed, label_mode=label_mode, **changed, **_quiet())
        trainer = MixUnlearnTrainer(
            original,
            args,
            forget_dataset=data.forget,
            retain_dataset=data.retain,
            processing_class=task.processing_class,
        )
        return trainer.model, _timed(trainer)


def _quiet() -> dict[str, Any]:
    """Settings without a say in the result."""
    return {
        "use_cpu": True,
        "report_to": "none",
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _timed(trainer: Trainer) -> dict[str, Any]:
    """Train, and nothing but that, under the clock. CPU seconds tell what it takes where the machine is shared."""
    trainer.remove_callback(PrinterCallback)
    start, cpu_start = time.perf_counter(), time.process_time()
    trainer.train()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "steps": trainer.state.global_step}


def _settings(task: Any, kind: str, changed: dict[str, Any]) -> dict[str, Any]:
    """What a cell's result depends on. A cell with other settings than today's is computed anew."""
    settings: dict[str, Any] = {"recipe": task.recipe, "train_rows": len(task.train_rows)}
    if kind in ("agnostic", "labels"):
        theirs = {field.name: field.default for field in fields(TrainingArguments)}
        defaults = {
            field.name: field.default
            for field in fields(MixUnlearnConfig)
            if field.name not in theirs or field.default != theirs[field.name]
        }
        settings["unlearning"] = {**defaults, "label_mode": kind, **changed}
    return settings


@torch.inference_mode()
def accuracy(model: PreTrainedModel, rows: Any, task: Any) -> float:
    """Share of the rows that the model classifies as labelled."""
    model.eval()
    tokenizer = task.processing_class

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if tokenizer is None:
            return default_data_collator(batch)
        labels = torch.tensor([row.pop("label") for row in batch])
        return {**tokenizer.pad(batch, return_tensors="pt"), "labels": labels}

    correct = 0
    for batch in torch.utils.data.DataLoader(rows, batch_size=100, collate_fn=collate):
        labels = batch.pop("labels")
        correct += int((model(**batch).logits.argmax(-1) == labels).sum())
    return correct / len(rows)


# ---- files ----


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text + "\n")
    os.replace(unfinished, path)


@contextmanager
def _finished_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its name when everything is in it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    yield unfinished
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


# ---- the table ----


def table(cells: list[dict[str, Any]], unseen: str = "Test") -> str:
    """Mean and standard deviation over the seeds, then the difference of each model to its retrained reference."""
    columns = [column.replace("Test", unseen) for column in COLUMNS]
    lines = [_line(["Model", *columns, "Seconds", "CPU seconds", "Steps"]), _line(["---"] + ["---:"] * 7)]
    for kind, title in KINDS.items():
        same = [one for one in cells if one["kind"] == kind]
        if same:
            spread = [_spread([one[column] for one in same], 2) for column in COLUMNS]
            cost = [_spread([one[name] for one in same], digits) for name, digits in COSTS.items()]
            lines.append(_line([title, *spread, *cost]))
    lines += ["", "Difference to the retrained model of the same seed, in points:", ""]
    lines += [_line(["Model", "Seed", *columns]), _line(["---"] + ["---:"] * 5)]
    references = {one["seed"]: one for one in cells if one["kind"] == "retrained"}
    for one in cells:
        if one["kind"] != "retrained" and one["seed"] in references:
            gaps = [f"{one[column] - references[one['seed']][column]:+.2f}" for column in COLUMNS]
            lines.append(_line([KINDS[one["kind"]], str(one["seed"]), *gaps]))
    return "\n".join(lines)


def _line(entries: list[str]) -> str:
    return "| " + " | ".join(entries) + " |"


def _spread(values: list[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    same = len(values) == 1 or digits == 0 and len(set(values)) == 1
    return mean if same else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def caption(task: Any, command: str, environment: dict[str, Any], seeds: list[int]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
    return "\n".join(
        [
            f"{type(task).__doc__} Class {FORGOTTEN} is forgotten.",
            f"Accuracy in %, mean ± standard deviation over the seeds {', '.join(map(str, seeds))};",
            "`_r`: rows of the classes that stay, `_f`: rows of the forgotten class.",
            "Seconds are those of `train()` alone. Unlearning uses the library's default settings.",
            "",
            f"`{command}`; {packages}, Python {environment['python']}; {environment['threads']} thread(s) of "
            f"{environment['cpu']}.",
        ]
    )


def describe_environment(threads: int) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    packages = {name: version(name) for name in PACKAGES}
    return {"packages": packages, "python": platform.python_version(), "threads": threads, "cpu": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with a folder a data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="rows of the table")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="where the table goes")
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/class_level"), help="models and cells")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--overwrite", action="store_true", help="compute the cells of --kinds and --seeds anew")
    parser.add_argument(
        "--validate", action="store_true", help="measure on unused training rows, not on test rows; write no table"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the unlearning; --validate only"
    )
    args = parser.parse_args()
    if args.set and not args.validate:
        parser.error("--set needs --validate: settings are not chosen on test rows")
    changed = {name: _value(value) for name, value in (pair.split("=", 1) for pair in args.set)}

    torch.set_num_threads(args.threads)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # a new head on a pretrained encoder is what is wanted
    task = TASKS[args.task]()
    data = load_data(task, args.data, args.validate)
    cells = []
    for seed in args.seeds:
        for kind in KINDS:
            if kind not in args.kinds:
                continue
            unlearned = kind in ("agnostic", "labels")
            options = Options(args.cache / task.name, args.validate, args.overwrite, changed if unlearned else {})
            cells.append(cell(task, data, kind, seed, options))
            print(f"seed {seed}, {kind}:", {column: round(cells[-1][column], 2) for column in COLUMNS}, flush=True)

    made = table(cells, "Validation" if args.validate else "Test")
    print("\n" + made)
    if args.validate:
        return
    seeds = " ".join(map(str, args.seeds))
    command = f"python benchmarks/class_level.py {task.name} --seeds {seeds} --threads {args.threads}"
    environment = describe_environment(args.threads)
    content = {"command": command, "environment": environment, "cells": cells}
    write(args.output / f"{task.name}.json", json.dumps(content, indent=2))
    write(args.output / f"{task.name}.md", f"{made}\n\n{caption(task, command, environment, args.seeds)}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


if __name__ == "__main__":
    main()

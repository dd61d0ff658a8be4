"""Forget a class, then a tenth of the rows, and compare each with a model trained without them.

    python examples/quickstart.py

A small ResNet learns scikit-learn's handwritten digits: nothing is downloaded, and two CPU cores take about a minute.
Writes the model without the class, `results.json` and `results.png` to outputs/quickstart.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Array3D, ClassLabel, Dataset, DatasetDict, Features
from matplotlib.figure import Figure
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
from transformers.utils.logging import disable_progress_bar

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer, split_forget_retain

OUTPUT = Path("outputs/quickstart")
QUIET = {"disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no", "report_to": "none"}
ON_CPU = {"use_cpu": True, "dataloader_pin_memory": False}  # the model is too small for a GPU to help
STYLE = {"original": ("#767676", "o"), "unlearned": ("#0072b2", "s"), "retrained": ("#d55e00", "D")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="few rows: shows that it runs, no more")
    options = parser.parse_args()
    disable_progress_bar()
    seed, models, seconds, results = options.seed, {}, {}, {}

    seen, holdout, unseen = load_rows(seed, 300 if options.tiny else None)
    print(f"1/5  training on {len(seen):,} digits", flush=True)
    models["original"], seconds["original"] = train(seen, seed)

    # Part 1: forget a class.
    split, unseen_split = split_forget_retain(seen, classes=["zero"]), split_forget_retain(unseen, classes=["zero"])
    print(f"2/5  forgetting the class zero, {len(split['forget'])} rows", flush=True)
    models["unlearned"], seconds["unlearned"] = unlearn(models["original"], split, seed)
    print("3/5  training without the class zero, for comparison", flush=True)
    models["retrained"], seconds["retrained"] = train(split["retain"], seed)
    sets = {
        "zeros, trained on": split["forget"],
        "zeros, unseen": unseen_split["forget"],
        "others, trained on": split["retain"],
        "others, unseen": unseen_split["retain"],
    }
    results["class zero"] = accuracies(models, sets) | {"seconds": dict(seconds)}

    # An unlearned model is saved and loaded like any other.
    models["unlearned"].save_pretrained(OUTPUT / "model")
    reloaded = AutoModelForImageClassification.from_pretrained(OUTPUT / "model")
    assert torch.equal(predict(reloaded, unseen), predict(models["unlearned"], unseen))

    # Part 2: forget rows of classes that stay. They should look to the model like rows it never saw, so it is shown
    # some of those, the holdout rows.
    split = split_forget_retain(seen, fraction=0.1, seed=seed)
    print(f"4/5  forgetting {len(split['forget'])} rows of all classes", flush=True)
    models["unlearned"], seconds["unlearned"] = unlearn(models["original"], split, seed, holdout)
    print("5/5  training without these rows, for comparison\n", flush=True)
    models["retrained"], seconds["retrained"] = train(split["retain"], seed)
    sets = {"forgotten rows": split["forget"], "retained rows": split["retain"], "unseen rows": unseen}
    results["10 % of the rows"] = accuracies(models, sets) | {"seconds": dict(seconds)}

    print(f"{'accuracy in %':<26}" + "".join(f"{model:>12}" for model in models))
    for part, measured in results.items():
        print(f"forget {part}")
        for name, values in measured.items():
            print(f"  {name:<24}" + "".join(f"{values[model]:>12.1f}" for model in models))
    (OUTPUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    draw(results, OUTPUT / "results.png")
    print(f"\nwritten: {OUTPUT}/model, results.json and results.png")


def load_rows(seed: int, limit: int | None) -> tuple[Dataset, Dataset, Dataset]:
    """Rows to train on (70 %), to hold out (10 %) and to test on (20 %), every class in all of them."""
    digits = load_digits()
    # 8x8 pixels are enlarged to 16x16, since the stem of a ResNet shrinks images fourfold
    pixels = np.kron(digits.images / 8 - 1, np.ones((1, 2, 2)))[:, None].astype(np.float32)  # (1797, 1, 16, 16)
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    features = Features({"pixel_values": Array3D((1, 16, 16), "float32"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"pixel_values": pixels[:limit], "label": digits.target[:limit]}, features)
    stratified = {"stratify_by_column": "label", "seed": seed}
    known = rows.with_format("torch").train_test_split(test_size=0.3, **stratified)
    unknown = known["test"].train_test_split(test_size=2 / 3, **stratified)
    return known["train"], unknown["train"], unknown["test"]


def train(rows: Dataset, seed: int) -> tuple[PreTrainedModel, float]:
    """A new classifier trained on `rows`, and the seconds that took."""
    start = time.perf_counter()
    set_seed(seed)
    config = ResNetConfig(
        num_channels=1, embedding_size=32, hidden_sizes=[32, 64], depths=[1, 1], layer_type="basic", num_labels=10
    )
    args = TrainingArguments(
        str(OUTPUT / "training"),
        num_train_epochs=8,
        per_device_train_batch_size=64,
        learning_rate=2e-3,
        seed=seed,
        **QUIET,
        **ON_CPU,
    )
    trainer = Trainer(ResNetForImageClassification(config), args, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model, time.perf_counter() - start


def unlearn(
    original: PreTrainedModel, split: DatasetDict, seed: int, holdout: Dataset | None = None
) -> tuple[PreTrainedModel, float]:
    """A copy of `original` that has forgotten a part of its rows, and the seconds that took."""
    start = time.perf_counter()
    args = MixUnlearnConfig(
        str(OUTPUT / "unlearning"),
        num_train_epochs=10,
        per_device_train_batch_size=16,  # 124 rows to forget: small batches make enough steps
        learning_rate=1e-3,
        seed=seed,
        **QUIET,
        **ON_CPU,
    )
    trainer = MixUnlearnTrainer(
        copy.deepcopy(original),
        args,
        forget_dataset=split["forget"],
        retain_dataset=split["retain"],
        holdout_dataset=holdout,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model, time.perf_counter() - start


@torch.no_grad()
def predict(model: PreTrainedModel, rows: Dataset) -> torch.Tensor:
    """Logits, `(N, 10)`."""
    return model.eval()(rows["pixel_values"][:]).logits


def accuracies(models: dict[str, PreTrainedModel], sets: dict[str, Dataset]) -> dict[str, dict[str, float]]:
    """Accuracy in % on every set, of every model."""
    return {
        name: {
            key: 100 * (predict(model, rows).argmax(-1) == rows["label"][:]).float().mean().item()
            for key, model in models.items()
        }
        for name, rows in sets.items()
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """A panel for each request, a dot for each accuracy."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, (part, measured) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        seconds = measured["seconds"]
        sets = {name: values for name, values in measured.items() if name != "seconds"}
        lowest = min(value for values in sets.values() for value in values.values())
        start = 0 if lowest < 80 else min(5 * (lowest // 5), 95)  # dots, unlike bars, need no zero
        for group, values in enumerate(sets.values()):
            for lane, (model, (color, marker)) in enumerate(STYLE.items()):
                point = (values[model], 4 * group + lane)
                axes.axhline(point[1], color="#e6e6e6", linewidth=1, zorder=0)
                axes.plot(*point, marker, color=color, markersize=7, clip_on=False)
                label = f"{values[model]:.1f}" + (f"  {model}" if group == 0 else "")
                beside = {"xytext": (9, 0), "textcoords": "offset points", "va": "center_baseline"}
                axes.annotate(label, point, color=color, bbox={"color": "white", "pad": 1}, **beside)
        axes.set_yticks(range(1, 4 * len(sets), 4), sets)
        axes.set_ylim(4 * len(sets) - 1.2, -0.8)
        axes.set_xlim(start, 100)
        axes.set_xlabel("accuracy in %" + (f" (axis starts at {start:.0f})" if start else ""))
        axes.tick_params(length=0, pad=8)
        axes.spines[:].set_visible(False)
        axes.set_title(f"Forget {part}\n", loc="left", weight="bold")
        times = f"unlearned in {seconds['unlearned']:.1f} s, retrained in {seconds['retrained']:.1f} s"
        axes.text(0, 1.02, times, transform=axes.transAxes, color="#444444")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

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

Results = dict[str, dict[str, float]]  # what was measured, on which model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="one epoch of everything: shows that it runs, no more")
    options = parser.parse_args()
    seed, epochs, once = options.seed, 1 if options.tiny else 8, {"num_train_epochs": 1}
    disable_progress_bar()

    rows = load_rows(seed)
    seen, unseen = rows["train"], rows["test"]
    print(f"1/6  training the original model on {len(seen):,} digits", flush=True)
    original = train(seen, epochs, seed)

    # Part 1: forget a class. Default settings.
    split, unseen_split = split_forget_retain(seen, classes=["zero"]), split_forget_retain(unseen, classes=["zero"])
    print(f"2/6  forgetting the {len(split['forget'])} rows of class zero", flush=True)
    unlearned = unlearn(original[0], split, seed, **(once if options.tiny else {}))
    print("3/6  retraining without class zero, for comparison", flush=True)
    retrained = train(split["retain"], epochs, seed)
    sets = {
        "zeros, trained on": split["forget"],
        "zeros, unseen": unseen_split["forget"],
        "others, trained on": split["retain"],
        "others, unseen": unseen_split["retain"],
    }
    results = {"class zero": measure(original, unlearned, retrained, sets)}

    # An unlearned model is saved and loaded like any other.
    unlearned[0].save_pretrained(OUTPUT / "model")
    reloaded = AutoModelForImageClassification.from_pretrained(OUTPUT / "model")
    assert torch.equal(predict(reloaded, unseen), predict(unlearned[0], unseen))

    # Part 2: forget rows of classes that stay. The aim is not to get them wrong, but to know them no better than
    # unseen ones: a single pass, and temperatures that soften the push.
    split = split_forget_retain(seen, fraction=0.1, seed=seed)
    print(f"4/6  forgetting {len(split['forget'])} rows of all classes", flush=True)
    unlearned = unlearn(original[0], split, seed, **once, mix_temperature=5.0, real_temperature=5.0)
    print("5/6  retraining without these rows, for comparison", flush=True)
    retrained = train(split["retain"], epochs, seed)
    sets = {"forgotten rows": split["forget"], "retained rows": split["retain"], "unseen rows": unseen}
    results["10 % of the rows"] = measure(original, unlearned, retrained, sets)

    print(f"6/6  writing {OUTPUT}\n")
    (OUTPUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    draw(results, OUTPUT / "results.png")
    print(f"{'accuracy in %':<28}" + "".join(f"{model:>12}" for model in STYLE))
    for part, measured in results.items():
        print(f"forget {part}")
        for name, values in measured.items():
            print(f"  {name:<26}" + "".join(f"{values[model]:>12.1f}" for model in STYLE))


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
    original: PreTrainedModel, split: DatasetDict, seed: int, **settings: float
) -> tuple[PreTrainedModel, float]:
    """A copy of `original` that has forgotten one half of the split, and the seconds it took."""
    start = time.perf_counter()
    args = MixUnlearnConfig(str(OUTPUT / "unlearning"), seed=seed, **settings, **QUIET, **ON_CPU)
    trainer = MixUnlearnTrainer(
        copy.deepcopy(original), args, forget_dataset=split["forget"], retain_dataset=split["retain"]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model, time.perf_counter() - start


@torch.no_grad()
def predict(model: PreTrainedModel, rows: Dataset) -> torch.Tensor:
    """Logits, `(N, 10)`."""
    return model.eval()(rows["pixel_values"][:]).logits


def measure(
    original: tuple[PreTrainedModel, float],
    unlearned: tuple[PreTrainedModel, float],
    retrained: tuple[PreTrainedModel, float],
    sets: dict[str, Dataset],
) -> Results:
    """Accuracy in % of three models on every set, and the seconds each of them took."""
    models = {"original": original, "unlearned": unlearned, "retrained": retrained}
    measured: Results = {}
    for name, rows in sets.items():
        correct = {key: predict(model, rows).argmax(-1) == rows["label"][:] for key, (model, _) in models.items()}
        measured[name] = {key: 100 * values.float().mean().item() for key, values in correct.items()}
    measured["seconds"] = {key: seconds for key, (_, seconds) in models.items()}
    return measured


def draw(results: dict[str, Results], path: Path) -> None:
    """A panel for each request, a dot for each accuracy."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, (part, measured) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        accuracies = {name: values for name, values in measured.items() if name != "seconds"}
        lowest = min(min(values.values()) for values in accuracies.values())
        start = 0 if lowest < 80 else 5 * (lowest // 5) - 5  # dots, unlike bars, need no zero
        for group, values in enumerate(accuracies.values()):
            for lane, (model, (color, marker)) in enumerate(STYLE.items()):
                point = (values[model], 4 * group + lane)
                axes.axhline(point[1], color="#e6e6e6", linewidth=1, zorder=0)
                axes.plot(*point, marker, color=color, markersize=7, clip_on=False)
                label = f"{values[model]:.1f}" + (f"  {model}" if group == 0 else "")
                beside = {"xytext": (9, 0), "textcoords": "offset points", "va": "center"}
                axes.annotate(label, point, color=color, bbox={"color": "white", "pad": 1}, **beside)
        axes.set_yticks(range(1, 4 * len(accuracies), 4), accuracies)
        axes.set_ylim(4 * len(accuracies) - 1.2, -0.8)
        axes.set_xlim(start, 100)
        axes.set_xlabel("accuracy in %" + (f" (axis from {start:.0f})" if start else ""))
        axes.tick_params(length=0, pad=8)
        axes.spines[:].set_visible(False)
        seconds = measured["seconds"]
        axes.set_title(f"Forget {part}\n", loc="left", weight="bold")
        times = f"{seconds['unlearned']:.1f} s, retraining {seconds['retrained']:.1f} s"
        axes.text(0, 1.02, times, transform=axes.transAxes, color="#444444")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

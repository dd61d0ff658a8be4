# /// script
# requires-python = ">=3.10"
# dependencies = ["mixunlearn-hf"]
# ///
"""Make an image classifier forget classes, a share of its training rows, or a share of the rows of some classes.

From the Hub:

    python examples/unlearn_image_classification.py \
        --model_name_or_path nateraw/vit-base-patch16-224-cifar10 \
        --dataset_name uoft-cs/cifar10 \
        --forget_classes airplane ship \
        --output_dir outputs/vit-without-airplanes-and-ships

From your own files: `--dataset_name path/to/folder` reads a folder of images (`train/cat/1.png`, `test/dog/2.png`) or
of Parquet files, `--train_file train.parquet --test_file test.parquet` reads two files.

Settings may stand in a YAML file too, which the command line overrides. For several GPUs, replace `python`:

    accelerate launch examples/unlearn_image_classification.py examples/configs/image_class.yaml --seed 1
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from datasets import load_dataset
from transformers import AutoImageProcessor, AutoModelForImageClassification, HfArgumentParser

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer, split_forget_retain
from mixunlearn_hf.errors import UnlearningError


@dataclass
class ScriptArguments:
    """From which model, of which data, to forget what. All other arguments are those of `MixUnlearnConfig`."""

    model_name_or_path: str = field(metadata={"help": "The trained classifier: Hub id or folder."})
    dataset_name: str | None = field(default=None, metadata={"help": "Hub id, or folder of images or Parquet files."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of the data set on the Hub."})
    train_file: str | None = field(default=None, metadata={"help": "Parquet file, in place of dataset_name."})
    test_file: str | None = field(default=None, metadata={"help": "Parquet file with rows to evaluate on."})
    train_split: str = field(default="train", metadata={"help": "The split the model was trained on."})
    test_split: str = field(default="test", metadata={"help": "The split to evaluate on, where there is one."})
    forget_classes: list[str] | None = field(default=None, metadata={"help": "Names or numbers of classes to forget."})
    forget_fraction: float | None = field(
        default=None, metadata={"help": "Share of the rows to forget; with forget_classes, of the rows of each."}
    )
    holdout_fraction: float = field(
        default=0.5,
        metadata={"help": "With forget_fraction: share of the test rows that tell how far to go, not evaluated on."},
    )
    max_eval_rows: int | None = field(
        default=None, metadata={"help": "Evaluate on at most so many rows of each set, drawn at random."}
    )


def main() -> None:
    script_args, training_args = parse_arguments()

    # 1. The rows the model was trained on, and rows it never saw.
    with training_args.main_process_first(desc="loading the data"):
        if script_args.train_file is not None:
            files = {script_args.train_split: script_args.train_file, script_args.test_split: script_args.test_file}
            rows = load_dataset("parquet", data_files={split: file for split, file in files.items() if file})
        else:
            rows = load_dataset(script_args.dataset_name, script_args.dataset_config)
    train, test = rows[script_args.train_split], rows.get(script_args.test_split)

    # 2. What to forget. Where whole classes go, their rows in the test set are evaluated apart. Rows of classes that
    # stay should look to the model as if it had never seen them, so it is shown some that it never saw.
    classes, fraction = script_args.forget_classes, script_args.forget_fraction
    if classes is not None:
        classes = [int(name) if name.isdecimal() else name for name in classes]
    split = {"label_column": training_args.label_column, "seed": training_args.seed}
    splits = split_forget_retain(train, classes=classes, fraction=fraction, **split)
    eval_sets = {"forget": splits["forget"], "retain": splits["retain"]}
    holdout = None
    if test is not None and classes is not None and fraction is None:
        unseen = split_forget_retain(test, classes=classes, **split)
        eval_sets |= {"test_forget": unseen["forget"], "test_retain": unseen["retain"]}
    elif test is not None:
        unseen = test.train_test_split(test_size=1 - script_args.holdout_fraction, seed=training_args.seed)
        holdout, eval_sets["test"] = unseen["train"], unseen["test"]
    if script_args.max_eval_rows is not None:
        for name, part in eval_sets.items():
            part = part.shuffle(seed=training_args.seed)
            eval_sets[name] = part.select(range(min(script_args.max_eval_rows, len(part))))

    # 3. Unlearn. The processor turns images into what the model takes, a batch at a time.
    trainer = MixUnlearnTrainer(
        AutoModelForImageClassification.from_pretrained(script_args.model_name_or_path),
        training_args,
        forget_dataset=splits["forget"],
        retain_dataset=splits["retain"],
        holdout_dataset=holdout,
        eval_dataset=eval_sets,
        processing_class=AutoImageProcessor.from_pretrained(script_args.model_name_or_path),
    )
    before = trainer.evaluate()
    resume = training_args.resume_from_checkpoint
    trainer.train(resume_from_checkpoint=True if str(resume).lower() == "true" else resume)
    after = trainer.evaluate()

    # 4. Save the model with its processor, and show what changed.
    trainer.save_model()
    if trainer.is_world_process_zero():
        results = {
            name: {"rows": len(part)}
            | {when: metrics[f"eval_{name}_accuracy"] for when, metrics in (("before", before), ("after", after))}
            for name, part in eval_sets.items()
        }
        Path(training_args.output_dir, "accuracy.json").write_text(json.dumps(results, indent=2) + "\n")
        print(f"\n{'accuracy on':<12} {'rows':>8} {'before':>8} {'after':>8}")
        for name, row in results.items():
            print(f"{name:<12} {row['rows']:>8,} {row['before']:>8.2%} {row['after']:>8.2%}")
    if training_args.push_to_hub:
        trainer.push_to_hub()


def parse_arguments() -> tuple[ScriptArguments, MixUnlearnConfig]:
    """The command line, over a YAML file (`--config`, or the first argument), over defaults; others are refused."""
    given = sys.argv[1:]
    if given and given[0].endswith((".yaml", ".yml")):
        given = ["--config", *given]
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    files.add_argument("--config", type=Path)
    file, given = files.parse_known_args(given)
    settings = (yaml.safe_load(file.config.read_text(encoding="utf-8")) or {}) if file.config else {}
    # The file's settings become words of the command line, in front of the others: of two values argparse takes the
    # last, and it knows that 1e-5, a string to YAML, is a number.
    for name, value in settings.items():
        if isinstance(value, list):
            given = [f"--{name}", *map(str, value), *given]
        elif value is not None:
            given = [f"--{name}={json.dumps(value) if isinstance(value, dict) else value}", *given]

    parser = HfArgumentParser(
        (ScriptArguments, MixUnlearnConfig),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    script_args, training_args, unknown = parser.parse_args_into_dataclasses(given, return_remaining_strings=True)
    if unknown:
        parser.error(f"unknown settings: {' '.join(unknown)}")
    if (script_args.dataset_name is None) == (script_args.train_file is None):
        parser.error("say where the data are: either --dataset_name or --train_file")
    if script_args.forget_classes is None and script_args.forget_fraction is None:
        parser.error("say what to forget: --forget_classes, --forget_fraction or both")
    return script_args, training_args


if __name__ == "__main__":
    try:
        main()
    except UnlearningError as error:
        sys.exit(f"{type(error).__name__}: {error}")

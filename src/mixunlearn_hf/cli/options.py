"""Options of the command line: dataclasses, a YAML file under them, and the command line over it."""

import argparse
import dataclasses
import difflib
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..errors import ConfigError
from ..trainer.config import MixUnlearnConfig, positive


@dataclass
class DataOptions:
    """The model and the rows."""

    model: str | None = field(default=None, metadata={"help": "The trained classifier: Hub id or folder."})
    dataset: str | None = field(default=None, metadata={"help": "Hub id, or folder of images, sounds or data files."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of the data set on the Hub."})
    train_file: str | None = field(
        default=None, metadata={"help": "Parquet, CSV or JSON file of the training rows, in place of dataset."}
    )
    test_file: str | None = field(default=None, metadata={"help": "File of rows the model was not trained on."})
    train_split: str = field(default="train", metadata={"help": "The split of dataset the model was trained on."})
    test_split: str = field(default="test", metadata={"help": "The split of dataset to evaluate on, if there is one."})
    input_column: str | None = field(
        default=None,
        metadata={"help": "Column with the image, text or sound the model reads; the only one by itself."},
    )
    max_length: int | None = field(default=None, metadata={"help": "Cut texts after so many tokens."})
    max_eval_rows: int = field(
        default=10_000, metadata={"help": "Evaluate on at most so many rows of each set, drawn at random."}
    )

    def __post_init__(self) -> None:
        positive("max_eval_rows", self.max_eval_rows)
        if self.max_length is not None:
            positive("max_length", self.max_length)


@dataclass
class RequestOptions:
    """What to forget. Several of these narrow each other."""

    classes: list[str] | None = field(default=None, metadata={"help": "Rows of these classes, by name or number."})
    indices_file: str | None = field(
        default=None, metadata={"help": "Rows at the positions in this file, one a line."}
    )
    column: str | None = field(default=None, metadata={"help": "Rows with one of some values in this column."})
    values: list[str] | None = field(default=None, metadata={"help": "The values, such as users' ids."})
    values_file: str | None = field(default=None, metadata={"help": "File with the values, one a line."})
    contains: list[str] | None = field(default=None, metadata={"help": "Rows whose text contains one of these."})
    contains_pattern: list[str] | None = field(
        default=None, metadata={"help": "Rows whose text matches one of these regular expressions."}
    )
    mask_column: str | None = field(default=None, metadata={"help": "Rows that hold true or 1 in this column."})
    digests: str | None = field(default=None, metadata={"help": "Rows whose keyed digest stands in this file."})
    digest_key: str | None = field(default=None, metadata={"help": "File with the key of digests."})
    fraction: float | None = field(default=None, metadata={"help": "A share of the rows that match the others."})
    per_class: bool | None = field(default=None, metadata={"help": "Take fraction of each class, or of all rows."})
    holdout: float | None = field(
        default=None,
        metadata={"help": "Share of the test rows that tell how far to go, not evaluated on. 0 for none. By default "
                  "half of them where rows of classes that stay are to be forgotten."},
    )  # fmt: skip
    allow_missing: bool = field(default=False, metadata={"help": "Accept values and phrases that match no row."})
    related: str = field(
        default="keep", metadata={"help": "What to do with retain rows that are the same or nearly so: keep or move."}
    )


@dataclass
class PlanOptions:
    """What retraining would be, to compare with."""

    retrain_epochs: float = field(default=10.0, metadata={"help": "Passes over the retain set that retraining takes."})
    retrain_batch_size: int = field(default=32, metadata={"help": "Rows in its batches."})

    def __post_init__(self) -> None:
        positive("retrain_epochs", self.retrain_epochs)
        positive("retrain_batch_size", self.retrain_batch_size)


SECTIONS: dict[str, Any] = {
    "data": DataOptions,
    "request": RequestOptions,
    "training": MixUnlearnConfig,
    "plan": PlanOptions,
}
Parsed = tuple[DataOptions, RequestOptions, MixUnlearnConfig, PlanOptions]
_INHERITED = {one.name: one.default for one in dataclasses.fields(TrainingArguments)}


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}.".replace("..", "."))


def parse(command: str, words: Sequence[str]) -> tuple[Parsed, bool]:
    """Options of a command, and whether it shall print JSON.

    Settings stand in a YAML file, flat or in the sections of `SECTIONS`, and behind `--` on the command line, plain or
    with their section (`--training.learning_rate`), which goes before the file.

    Raises:
        ConfigError: a setting nobody knows (with the nearest that is known), or one with a wrong value.
    """
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--config", type=Path)
    own.add_argument("--json", action="store_true")
    own.add_argument("-h", "--help", "--help_all", dest="help", action="store_const", const=True)
    given, rest = own.parse_known_args(list(words))
    if given.help:
        _print_help(command, everything="--help_all" in words)
        raise SystemExit(0)
    settings = _read(given.config) if given.config else {}
    parser = _Parser(list(SECTIONS.values()), allow_abbrev=False, add_help=False)
    # The file's settings become words of the command line, in front of the others: of two values argparse takes the
    # last, and it knows that 1e-5, a string to YAML, is a number.
    words = [*_as_words(settings), *(_plain(word) for word in rest)]
    if not any(word.split("=")[0] == "--output_dir" for word in words):
        words = ["--output_dir=unlearned", *words]
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(words, return_remaining_strings=True)
    except (ValueError, ImportError) as error:  # what transformers says of settings that do not go together
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(str(error)) from None
    if unknown:
        raise ConfigError(_unknown(unknown[0]))
    data, request, training, plan = parsed
    if training.device.type == "cpu":
        training.dataloader_pin_memory = False  # torch warns otherwise
    return (data, request, training, plan), given.json


def known_names() -> list[str]:
    return [one.name for section in SECTIONS.values() for one in dataclasses.fields(section) if one.init]


def _read(path: Path) -> dict[str, Any]:
    """Settings of a YAML file, without their sections."""
    try:
        text = path.read_text(encoding="utf-8")
        content, typed = yaml.load(text, _AsWritten) or {}, yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {str(path)!r} cannot be read ({type(error).__name__}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{str(path)!r}{where} is not YAML: one `name: value` a line, no name twice.") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{str(path)!r} is not YAML of settings: one `name: value` a line.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{str(path)!r} must hold settings, one `name: value` a line.")
    settings: dict[str, Any] = {}
    for name, value in content.items():
        sectioned = name in SECTIONS and isinstance(value, dict)
        for key, setting in (value if sectioned else {name: value}).items():
            _require_known(f"{name}.{key}" if sectioned else key)
            is_dict = isinstance(setting, dict)  # of settings of a scheduler, say: their numbers are numbers
            settings[key] = (typed[name][key] if sectioned else typed[key]) if is_dict else setting
    return settings


class _AsWritten(yaml.BaseLoader):
    """Values as they are written: an id such as 0123 or 1:30 is no number, a name that stands twice an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = next((key for i, (key, _) in enumerate(node.value) if key.value in names[:i]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(problem="a name twice", problem_mark=twice.start_mark)
        return super().construct_mapping(node, deep)


def _as_words(settings: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in settings.items():
        if isinstance(value, list):
            if any(str(one).startswith("-") for one in value):
                raise ConfigError(f"A value of `{name}` begins with '-'. Such values go into a file (`values_file`).")
            words += [f"--{name}", *map(str, value)]
        elif value not in ("", "null", "~"):
            words.append(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}")
    return words


def _plain(word: str) -> str:
    """A word of the command line without the section in its name."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    _require_known(name)
    return f"--{name.split('.')[-1]}{equals}{value}"


def _require_known(name: str) -> None:
    section, dot, key = name.rpartition(".")
    names = [one.name for one in dataclasses.fields(SECTIONS[section])] if section in SECTIONS else known_names()
    if (dot and section not in SECTIONS) or key.removeprefix("no_") not in names:
        raise ConfigError(_unknown(name))


def _unknown(name: str) -> str:
    key = name.lstrip("-").split("=")[0]
    near = difflib.get_close_matches(key.split(".")[-1], known_names(), 1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no setting {key!r}.{hint} `--help` lists those of this library, `--help_all` all of them."


def _print_help(command: str, everything: bool) -> None:
    """The settings of this library, or all, those of transformers' `TrainingArguments` among them."""
    print(f"usage: mixunlearn {command} --config request.yaml [--json] [--any.setting value]\n")
    print("Settings, in the file or on the command line; a section's name may stand before them.")
    for section, options in SECTIONS.items():
        if section == "plan" and command != "plan":
            continue
        lines = []
        for one in dataclasses.fields(options):
            ours = one.name not in _INHERITED or one.default != _INHERITED[one.name]
            if one.init and (ours or everything or one.name in ("output_dir", "num_train_epochs", "seed")):
                default = "" if one.default in (None, dataclasses.MISSING) else f" [{one.default}]"
                text = f"{_one_line(one.metadata.get('help', ''))}{default}"
                lines += textwrap.wrap(text, 110, initial_indent=f"  {one.name:<28} ", subsequent_indent=" " * 31)
        print(f"\n{section}: {_one_line(str(options.__doc__))}", *lines, sep="\n")
    if not everything:
        print("\nAll settings of transformers' TrainingArguments belong to training too: --help_all lists them.")


def _one_line(text: str) -> str:
    return text.strip().split("\n")[0]

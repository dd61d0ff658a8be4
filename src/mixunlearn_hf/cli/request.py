"""From the options to what the library takes: the model, and the rows split as requested."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer, PreTrainedModel

from ..data.parts import ForgetRetainSplits
from ..data.rows import find_label_column, is_text
from ..data.selectors import Phrase
from ..data.splits import split_forget_retain
from ..errors import ConfigError, DataError
from ..related.find import find_related
from ..related.found import RelatedRows
from ..trainer.base import load_classifier
from ..trainer.config import MixUnlearnConfig
from ..trainer.floor import STAYS
from ..trainer.mixunlearn import MixUnlearnTrainer
from .options import DataOptions, RequestOptions

HOLDOUT = 0.5  # of the test rows
PROCESSORS: dict[str, Any] = {  # by the model's main input
    "input_ids": AutoTokenizer,
    "pixel_values": AutoImageProcessor,
    "input_values": AutoFeatureExtractor,
    "input_features": AutoFeatureExtractor,
}
READERS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".arrow": "arrow"}


@dataclass
class Prepared:
    """A request, resolved.

    Attributes:
        splits: all rows, split, with all their columns.
        inputs: the same, with the columns that the model and its targets take.
        going: classes of which no row, or hardly one, stays.
        related: rows that were moved, if that was asked for.
    """

    model: PreTrainedModel
    processing_class: Any
    splits: ForgetRetainSplits
    inputs: dict[str, datasets.Dataset]
    going: list[int]
    related: RelatedRows | None = None

    def trainer(self, training: MixUnlearnConfig, sample: int | None = None) -> MixUnlearnTrainer:
        """A trainer on all rows, or on random ones, at most `sample` of each part."""

        def part(name: str) -> datasets.Dataset | None:
            rows = self.inputs.get(name)
            return rows if rows is None or sample is None else at_most(rows, sample, training.seed)

        return MixUnlearnTrainer(
            self.model,
            training,
            forget_dataset=part("forget"),
            retain_dataset=part("retain"),
            holdout_dataset=part("holdout"),
            eval_dataset={"test": part("test")} if "test" in self.inputs else None,
            processing_class=self.processing_class,
        )

    def measured(self, limit: int, seed: int) -> dict[str, datasets.Dataset]:
        """The sets to evaluate on, at most `limit` rows of each. Holdout rows take part in training: they are none."""
        return {name: at_most(rows, limit, seed) for name, rows in self.inputs.items() if name != "holdout"}


def at_most(rows: datasets.Dataset, limit: int, seed: int) -> datasets.Dataset:
    """All rows, or `limit` random ones in their order."""
    if len(rows) <= limit:
        return rows
    return rows.select(np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False)))


def prepare(data: DataOptions, request: RequestOptions, training: MixUnlearnConfig) -> Prepared:
    """Load the model and the rows, and split them.

    Raises:
        ConfigError, DataError, SplitError: a setting is missing, a file cannot be read, or the request cannot be met.
    """
    if data.model is None:
        raise ConfigError("Say which model shall forget: `model`, a folder or a Hub id.")
    if (data.dataset is None) == (data.train_file is None):
        raise ConfigError("Say where the training rows are: either `dataset` or `train_file`.")
    if data.dataset is not None and data.test_file is not None:
        raise ConfigError(
            "`test_file` goes with `train_file`. With `dataset`, `test_split` names the rows to test on."
        )
    if request.related not in ("keep", "move"):
        raise ConfigError(f"`related` must be 'keep' or 'move', got {request.related!r}.")
    with training.main_process_first(desc="loading the data"):
        rows = load_rows(data)
    splits = split(rows, data, request, training, request.holdout)
    going = classes_that_go(splits)
    if request.holdout is None and not going and "test" in rows:
        # rows of classes that stay should come to look like rows never seen: some are shown to the trainer
        splits = split(rows, data, request, training, HOLDOUT)
    related = None
    if request.related == "move":
        related = find_related(splits, columns=data.input_column, progress=not training.disable_tqdm)
        splits = related.move_to_forget(splits)
        going = classes_that_go(splits)
    model, processing_class = load_model(data)
    inputs = {name: _inputs(part, data.input_column, training.label_column) for name, part in splits.items()}
    return Prepared(model, processing_class, splits, inputs, going, related)


def load_rows(data: DataOptions) -> datasets.DatasetDict:
    """The training rows as split `train`, and others as `test` if there are any."""
    if data.train_file is not None:
        files = {"train": data.train_file} | ({"test": data.test_file} if data.test_file else {})
        return datasets.DatasetDict({name: _read(path) for name, path in files.items()})
    with _unreadable(str(data.dataset)):
        loaded = datasets.load_dataset(data.dataset, data.dataset_config)
    if data.train_split not in loaded:
        raise DataError(f"{data.dataset!r} has no split {data.train_split!r}, only {list(loaded)}. Set `train_split`.")
    test = {"test": loaded[data.test_split]} if data.test_split in loaded else {}
    return datasets.DatasetDict({"train": loaded[data.train_split], **test})


def _read(path: str) -> datasets.Dataset:
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(f"{path!r} must be one of the files {', '.join(READERS)}.")
    if not Path(path).is_file():
        raise DataError(f"There is no file {path!r}.")
    with _unreadable(path):
        return datasets.load_dataset(reader, data_files=path, split="train")


@contextmanager
def _unreadable(name: str) -> Iterator[None]:
    """What goes wrong while reading, without the text of it, which can quote rows; `datasets` would log it."""
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    except Exception as error:
        cause = error.__cause__ or error
        raise DataError(
            f"{name!r} cannot be read as a data set ({type(cause).__name__}). Is it whole, and of the kind that its "
            "name says?"
        ) from None
    finally:
        datasets.logging.set_verbosity(before)


def split(
    rows: datasets.DatasetDict,
    data: DataOptions,
    request: RequestOptions,
    training: MixUnlearnConfig,
    holdout: float | None,
) -> ForgetRetainSplits:
    """The request, as the library takes it."""
    if request.values is not None and request.values_file is not None:
        raise ConfigError("`values` and `values_file` contradict each other. Set one of them.")
    try:
        patterns = [re.compile(one) for one in request.contains_pattern or []]
    except re.error as error:
        raise ConfigError(f"A `contains_pattern` is no regular expression: {error.msg}.") from None
    phrases: list[Phrase] = [*(request.contains or []), *patterns]
    texts = [name for name, feature in rows["train"].features.items() if is_text(feature)]
    indices = None if request.indices_file is None else _whole_numbers(request.indices_file)
    return split_forget_retain(
        rows,
        classes=request.classes,
        indices=indices,
        column=request.column,
        values=_lines(request.values_file) if request.values_file is not None else request.values,
        contains=phrases or None,
        text_column=data.input_column if phrases and data.input_column in texts else None,
        mask_column=request.mask_column,
        digests=request.digests,
        digest_key=None if request.digests is None else request.digest_key,
        fraction=request.fraction,
        per_class=request.per_class,
        holdout=holdout or None,
        label_column=training.label_column,
        allow_missing=request.allow_missing,
        seed=training.seed,
    )


def _lines(path: str) -> list[str]:
    try:
        return [line for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {path!r} cannot be read ({type(error).__name__}).") from None


def _whole_numbers(path: str) -> list[int]:
    lines = _lines(path)
    wrong = [number for number, line in enumerate(lines, start=1) if not line.strip().isdecimal()]
    if wrong:
        raise ConfigError(f"{path!r} must hold one row number a line, and line {wrong[0]} does not.")
    return [int(line) for line in lines]


def classes_that_go(splits: ForgetRetainSplits) -> list[int]:
    """Classes of which the retain set holds hardly a row (`floor.py`), by number."""
    name = find_label_column(splits["forget"], splits.record.label_column)
    counts = splits.record.rows_per_class
    if name is None or "forget" not in counts:
        return []
    feature = splits["forget"].features[name]
    return [
        feature.str2int(label) if isinstance(feature, datasets.ClassLabel) else int(label)
        for label, count in counts["forget"].items()
        if label != "none" and counts["retain"].get(label, 0) < STAYS * count
    ]


def load_model(data: DataOptions) -> tuple[PreTrainedModel, Any]:
    """The classifier, by the architecture its config names, and what encodes its rows, if that is beside it."""
    path = str(data.model)
    try:
        model = load_classifier(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path!r} is no model ({type(error).__name__}): a folder or a Hub id is expected."
        ) from None
    try:
        processing_class = PROCESSORS.get(model.main_input_name, AutoImageProcessor).from_pretrained(path)
    except (OSError, ValueError):
        processing_class = None  # the rows may be model inputs already
    if data.max_length is not None:
        if processing_class is None or not hasattr(processing_class, "model_max_length"):
            raise ConfigError(f"`max_length` is about texts, and {path!r} comes without a tokenizer.")
        processing_class.model_max_length = data.max_length
    return model, processing_class


def _inputs(rows: datasets.Dataset, input_column: str | None, label_column: str | None) -> datasets.Dataset:
    """The columns the model and its targets take; all where the one to read is not named."""
    if input_column is None:
        label = find_label_column(rows, label_column)
        texts = [name for name, feature in rows.features.items() if is_text(feature) and name != label]
        return rows.remove_columns(texts) if "input_ids" in rows.column_names and texts else rows
    if input_column not in rows.column_names:
        raise DataError(f"There is no column {input_column!r}, only {rows.column_names}. Set `input_column`.")
    label = find_label_column(rows, label_column)
    return rows.select_columns([input_column] if label is None else [input_column, label])

"""What is refused before any training starts."""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from torch import nn
from transformers.utils import logging

from ..data.digests import row_digests
from ..data.rows import NO_LABEL, Rows
from ..errors import ConfigError, DataError, OutputExistsError, UnsupportedModelError

logger = logging.get_logger(__name__)

_FINISHED_RUN = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
)


def claim_output_dir(output_dir: str, overwrite: bool) -> None:
    """Refuse a directory that already holds a model or checkpoints; if told to overwrite, remove old checkpoints."""
    present = os.listdir(output_dir) if os.path.isdir(output_dir) else []
    found = sorted(name for name in present if name in _FINISHED_RUN or name.startswith("checkpoint-"))
    if overwrite:
        for name in found:
            if name.startswith("checkpoint-"):  # a later resume would take them for this run's
                shutil.rmtree(os.path.join(output_dir, name), ignore_errors=True)
    elif found:
        raise OutputExistsError(
            f"`output_dir` {output_dir!r} already holds a run ({', '.join(found[:3])}). Choose another directory, "
            "pass `overwrite_output_dir=True` to replace it, or continue it with "
            "`trainer.train(resume_from_checkpoint=True)`."
        )


def last_complete_checkpoint(output_dir: str) -> str:
    """The newest checkpoint that was written to its end; its state is the last file of a checkpoint."""
    folders = [
        path for path in Path(output_dir).glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()
    ]
    for folder in sorted(folders, key=lambda path: -int(path.name.removeprefix("checkpoint-"))):
        try:
            json.loads((folder / "trainer_state.json").read_text())
            return str(folder)
        except (OSError, ValueError):
            logger.warning(f"{folder} was not written to its end and is passed over.")
    raise ConfigError(f"There is no complete checkpoint in {output_dir!r} to continue from.")


def check_rows(rows: Rows, num_labels: int, label_mode: str) -> None:
    """Refuse an empty set, labels the model does not have, and missing labels where they are required."""
    if len(rows) == 0:
        raise DataError(f"`{rows.name}` has no rows. `split_forget_retain` builds sets that have.")
    labels = rows.labels()
    if label_mode == "labels" and (rows.label_column is None or (labels is not None and NO_LABEL in labels)):
        count = len(rows) if labels is None else int((labels == NO_LABEL).sum())
        raise DataError(
            f'`label_mode="labels"` needs a label on every row, and {count} of {len(rows)} rows of `{rows.name}` have '
            'none. Use `label_mode="auto"`, which takes the original model\'s prediction for those.'
        )
    outside = 0 if labels is None or label_mode == "agnostic" else int((labels >= num_labels).sum())
    if outside:
        raise DataError(
            f"{outside} rows of `{rows.name}` have a label outside the model's {num_labels} classes (0 to "
            f"{num_labels - 1}). Load the model the data belong to, or map the labels to its classes."
        )


def check_class_order(rows: Rows, id2label: dict[Any, str] | None) -> None:
    """Refuse labels that carry the model's class names in another order."""
    names, known = rows.class_names(), [name for _, name in sorted((id2label or {}).items())]
    if names is not None and names != known and sorted(names) == sorted(known):
        position = next(i for i, (one, other) in enumerate(zip(names, known, strict=True)) if one != other)
        raise DataError(
            f"Label {position} is {names[position]!r} in `{rows.name}` and {known[position]!r} to the model: they "
            "have the same classes in another order. Use `dataset.align_labels_with_mapping(model.config.label2id, "
            f"{rows.label_column!r})`."
        )


def check_unshared(first: Rows, second: Rows) -> None:
    """Refuse two sets that share rows."""
    shared = count_shared_rows(first.dataset, second.dataset)
    if shared:
        raise DataError(
            f"`{first.name}` and `{second.name}` share {shared} rows. The objective would treat the same rows in "
            "two ways and its loss would still look normal. Build the sets with `split_forget_retain`; where the data "
            "hold the same row twice, forget the copies too, with `find_related(splits).move_to_forget(splits)` (in a "
            "file of settings: `related: move`), or keep them with `allow_shared_rows=True`."
        )


def count_shared_rows(first: Any, second: Any) -> int:
    """Rows of `second` that are, labels aside, also in `first`; 0 for other data sets than `datasets.Dataset`."""
    if not (isinstance(first, datasets.Dataset) and isinstance(second, datasets.Dataset)):
        return 0
    columns = [
        name
        for name in first.column_names
        if name in second.column_names
        and name not in ("label", "labels", "label_ids")
        and not isinstance(first.features[name], datasets.ClassLabel)
    ]
    key = secrets.token_bytes(32)  # the digests are compared and forgotten
    digests = set(row_digests(first, columns, key))
    return sum(digest in digests for digest in row_digests(second, columns, key))


def check_batch(model: nn.Module, batch: dict[str, Any], main_input: str) -> None:
    """Refuse a batch whose images or tokens do not fit the model."""
    config: Any = model.config
    if main_input not in batch:
        raise DataError(
            f"The rows hold {sorted(batch)}, the model takes `{main_input}`. Pass a data set with that column, or "
            "raw rows with `processing_class=`."
        )
    values = batch[main_input]
    if main_input == "pixel_values":
        channels = getattr(config, "num_channels", values.shape[1])
        size = getattr(config, "image_size", None)
        expected = tuple(np.broadcast_to(size, 2).tolist()) if size is not None else tuple(values.shape[2:])
        if values.shape[1] != channels or tuple(values.shape[2:]) != expected:
            raise DataError(
                f"Images have the shape {tuple(values.shape[1:])} (channels, height, width), the model takes "
                f"{(channels, *expected)}. Pass the image processor the model was trained with as "
                "`processing_class=`."
            )
    if main_input == "input_ids":
        vocabulary = model.get_input_embeddings().num_embeddings  # type: ignore[operator]
        if int(values.max()) >= vocabulary:
            raise DataError(
                f"Token {int(values.max())} lies outside the model's vocabulary of {vocabulary}. Pass the tokenizer "
                "the model was trained with as `processing_class=`."
            )
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and values.shape[1] > longest:
            raise DataError(
                f"A row has {values.shape[1]} tokens, the model takes {longest}. Truncate the rows when they are "
                "tokenized."
            )


def check_head(model: nn.Module) -> int:
    """The number of classes of a model with a single-label classification head; others are refused."""
    config: Any = getattr(model, "config", None)
    architecture = type(model).__name__
    if not architecture.endswith(("ForImageClassification", "ForSequenceClassification", "ForAudioClassification")):
        raise UnsupportedModelError(
            f"Expected a model with a classification head, got {architecture}. Load it with "
            "`AutoModelForImageClassification` or `AutoModelForSequenceClassification`."
        )
    if config.problem_type in ("regression", "multi_label_classification") or config.num_labels < 2:
        raise UnsupportedModelError(
            f"Expected one label out of several, got problem_type={config.problem_type!r} with {config.num_labels} "
            "labels. The objective compares probability vectors over classes."
        )
    return int(config.num_labels)

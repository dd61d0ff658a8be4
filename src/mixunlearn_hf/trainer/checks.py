"""What is refused before any training starts."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from ..classifier import bare, evaluating, logits_of, main_input
from ..data.digests import row_digests
from ..data.rows import NO_LABEL, Rows
from ..errors import ConfigError, DataError, OutputExistsError, UnsupportedModelError

logger = logging.get_logger(__name__)

_HEADS = ("ForImageClassification", "ForSequenceClassification", "ForAudioClassification")
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


def check_lengths(rows: Rows, longest: int | None) -> None:
    """Refuse stored token rows of which one is longer than the model takes."""
    dataset = rows.dataset
    stored = isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom"
    if longest is None or not stored or not isinstance(dataset.features.get("input_ids"), datasets.List):
        return
    for table in dataset.select_columns(["input_ids"]).with_format("arrow").iter(10_000):
        most = pc.max(pc.list_value_length(table["input_ids"])).as_py() or 0
        if most > longest:
            raise DataError(
                f"A row of `{rows.name}` has {most} tokens, the model takes {longest}. Truncate rows when they are "
                "tokenized."
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


def check_batch(model: nn.Module, batch: dict[str, Any], main_input: str, longest: int | None = None) -> None:
    """Refuse a batch whose images or tokens do not fit the model; texts have at most `longest` tokens."""
    if main_input not in batch:
        raise DataError(
            f"The rows hold {sorted(batch)}, the model takes `{main_input}`. Pass a data set with that column, or "
            "raw rows with `processing_class=`."
        )
    model, values = bare(model), batch[main_input]
    config: Any = getattr(model, "config", None)
    if main_input == "pixel_values" and values.shape[1] != getattr(config, "num_channels", values.shape[1]):
        raise DataError(_unfit_images(values, config))
    if main_input == "input_ids" and isinstance(model, PreTrainedModel):
        vocabulary: Any = getattr(model.get_input_embeddings(), "num_embeddings", None)
        if vocabulary is not None and int(values.max()) >= vocabulary:
            raise DataError(
                f"A token lies outside the model's vocabulary of {vocabulary}. Pass the tokenizer the model was "
                "trained with as `processing_class=`."
            )
        if longest is not None and values.shape[1] > longest:
            raise DataError(
                f"A row has {values.shape[1]} tokens, the model takes {longest}. Truncate rows when they are "
                "tokenized."
            )


def refused_batch(model: nn.Module, batch: dict[str, Any], main_input: str, error: Exception) -> DataError:
    """What to say of a batch that the model's forward refused."""
    config: Any = getattr(bare(model), "config", None)
    values, size = batch.get(main_input), getattr(config, "image_size", None)
    if main_input == "pixel_values" and isinstance(values, Tensor) and size is not None:
        if tuple(values.shape[2:]) != tuple(np.broadcast_to(size, 2).tolist()):
            return DataError(_unfit_images(values, config))
    inputs = {name: (tuple(one.shape), one.dtype) for name, one in batch.items() if isinstance(one, Tensor)}
    weights = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if isinstance(values, Tensor) and values.is_floating_point() and values.dtype not in weights:
        advice = f"Its weights are of the type {', '.join(map(str, weights))}: use `model.float()` or inputs of that."
    elif main_input == "input_ids" and getattr(config, "pad_token_id", 0) is None:
        advice = "It has no padding token: set `model.config.pad_token_id` to the tokenizer's."
    else:
        advice = "Pass what turns rows into inputs for this model as `processing_class=` or `data_collator=`."
    return DataError(f"The model cannot take rows with the inputs {inputs} ({type(error).__name__}, above). {advice}")


def _unfit_images(images: Tensor, config: Any) -> str:
    size = getattr(config, "image_size", None)
    expected = tuple(images.shape[2:]) if size is None else tuple(np.broadcast_to(size, 2).tolist())
    channels = getattr(config, "num_channels", images.shape[1])
    return (
        f"Images have the shape {tuple(images.shape[1:])} (channels, height, width), the model takes "
        f"{(channels, *expected)}. Pass the image processor the model was trained with as `processing_class=`."
    )


def check_head(model: nn.Module) -> None:
    """Refuse models of transformers that give anything but one class out of several, and what cannot be trained."""
    if hasattr(model, "_orig_mod") or isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise UnsupportedModelError(
            f"Expected the model itself, got it wrapped as {type(model).__name__}. The Trainer wraps it: pass the "
            "plain model, with `torch_compile=True` to compile it, and `accelerate launch` for several processes."
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"No parameter of {type(model).__name__} is trainable, so it cannot forget. Load adapters with "
            "`PeftModel.from_pretrained(..., is_trainable=True)`, or call `model.requires_grad_(True)`."
        )
    model = bare(model)
    config: Any = getattr(model, "config", None)
    architecture, problem = type(model).__name__, getattr(config, "problem_type", None)
    if isinstance(model, PreTrainedModel) and architecture.endswith("ForTokenClassification"):
        raise UnsupportedModelError(
            f"{architecture} gives a class to every token, and what is forgotten here are rows with one class each. "
            "Token classification is not supported."
        )
    of_transformers = type(model).__module__.startswith("transformers.")
    if of_transformers and not any(head in architecture for head in _HEADS):
        raise UnsupportedModelError(
            f"Expected a model with a classification head, got {architecture}. Load it with "
            "`AutoModelForImageClassification`, `AutoModelForSequenceClassification` or "
            "`AutoModelForAudioClassification`."
        )
    if problem == "multi_label_classification":
        raise UnsupportedModelError(
            f"{architecture} has a multi-label head (config.problem_type={problem!r}): its labels do not exclude each "
            "other. The objective compares probability vectors over classes that do, so it would forget something "
            "else than was asked for. Multi-label classification is not supported."
        )
    if problem == "regression" or (getattr(config, "num_labels", None) or 2) < 2:
        raise UnsupportedModelError(
            f"{architecture} has a regression head (config.problem_type={problem!r}, num_labels="
            f"{config.num_labels}): it gives a number and no class. The objective compares probability vectors over "
            "classes. Regression is not supported."
        )


@torch.no_grad()
def count_classes(model: torch.nn.Module, rows: Rows, collator: Callable[[list[Any]], dict[str, Any]]) -> int:
    """Classes of a model: what its config says, else how many logits it gives the first row."""
    declared = getattr(getattr(model, "config", None), "num_labels", None)
    if declared is not None:
        return int(declared)
    if len(rows) == 0:
        raise DataError(f"`{rows.name}` has no rows. `split_forget_retain` builds sets that have.")
    name, first = main_input(model), {key: value for key, value in rows[0].items() if key != "labels"}
    if name not in first:
        check_batch(model, first, name)
    device = next(model.parameters()).device
    batch = {key: value.to(device) for key, value in collator([first]).items()}
    with evaluating(model):
        try:
            logits = logits_of(model(**batch))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise refused_batch(model, batch, name, error) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != 1 or logits.shape[1] < 2:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnsupportedModelError(
            f"Expected logits of the shape (rows, classes) from {type(model).__name__}, with two classes or more, as "
            f"a tensor or under the name `logits`. For one row came {came}."
        )
    return int(logits.shape[1])

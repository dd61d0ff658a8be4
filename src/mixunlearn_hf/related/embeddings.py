"""Rows that a model sees alike, by the cosine of their embeddings."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, default_data_collator

from ..classifier import input_names, longest_text, main_input
from ..data.rows import Rows
from ..errors import DataError, UnsupportedModelError
from .content import Content, Reader, no_image, take, undecoded
from .nearest import BLOCK, Nearest, most_similar

DEVIATIONS = 3.09  # the normal quantile of 1 in 1,000
SMALLEST_DISTANCE = 1e-6  # of cosines in float32
CALIBRATED_ROWS = 1000


class SimilarEmbeddings:
    """Finds rows whose embeddings point in nearly the same direction.

    The embedding of a row is the hidden state in the middle of the model, averaged over image positions or tokens.
    Later layers tell classes apart rather than rows. How alike unrelated rows are differs from model to model, so a
    threshold is best taken from the data: [`SimilarEmbeddings.calibrate`].

    Args:
        content: columns by which rows without content are told.
        model (`PreTrainedModel`): the model; it runs where it is, in evaluation mode.
        processing_class: image processor or tokenizer, for raw images or text.
        threshold (`float` in (-1, 1]): cosine from which two rows are near.
    """

    batch_size = 64

    def __init__(
        self, content: Content, model: PreTrainedModel, processing_class: Any, threshold: float = 1.0
    ) -> None:
        self._content, self._model, self._threshold = content, model, threshold
        self._processing_class = processing_class
        self._positions: list[int] = []
        self._embeddings: list[Tensor] = []  # one (D,) a forget row

    @property
    def description(self) -> str:
        return f"middle hidden state of {type(self._model).__name__}, cosine at least {self._threshold:.4f}"

    def calibrate(self, dataset: datasets.Dataset, split: str, forget_rows: int) -> None:
        """Set the threshold so that about one in 1,000 rows of a split, looked up among each other, would be found.

        Up to 1,000 rows are looked up among as many others as there are forget rows, 4,096 at most. The logarithm of
        the distance to the nearest is taken for normal, and its median and median deviation say where one in 1,000
        lies: a share of rows with copies in the split does not move them much, as it would the quantile itself.
        """
        read, wanted = self.reader(dataset, split), min(CALIBRATED_ROWS + min(forget_rows, BLOCK), len(dataset))
        sample = np.unique(np.linspace(0, max(len(dataset) - 1, 0), wanted).astype(np.int64))
        looked_up = sample[:: max(wanted // CALIBRATED_ROWS, 2)]
        rows, others = (
            [
                item
                for start in range(0, len(part), self.batch_size)
                for item in read(part[start : start + self.batch_size])
                if item is not None
            ]
            for part in (looked_up, np.setdiff1d(sample, looked_up))
        )
        if rows and others:
            _, cosine, _ = most_similar(torch.stack(rows), [torch.stack(others)], -1.0)
            distance = np.log(np.maximum(1 - cosine, SMALLEST_DISTANCE))
            middle = np.median(distance)
            spread = 1.4826 * np.median(np.abs(distance - middle))  # of a normal distribution, its standard deviation
            self._threshold = float(1 - np.exp(middle - DEVIATIONS * spread))

    def reader(self, dataset: datasets.Dataset, split: str) -> Reader:
        model, content = self._model, self._content
        inputs = input_names(model)
        transformed = dataset.format["type"] == "custom"
        if not transformed:  # labels have no say, nor whether the model can take them
            kept = {*content.columns, *inputs} - {"labels"}
            dataset = dataset.select_columns([name for name in dataset.column_names if name in kept])
        rows = Rows(dataset, inputs, main_input(model), self._processing_class, None, split, longest_text(model))
        is_empty = self._emptiness(dataset)

        def read(positions: np.ndarray) -> list[Any]:
            empty = is_empty(positions)
            filled = positions[~empty]
            items: list[Any] = [None] * len(positions)
            if len(filled):
                embeddings = self._embed(_collated(_read(rows, filled, split), model))
                for place, embedding in zip(np.flatnonzero(~empty), embeddings, strict=True):
                    items[place] = embedding
            return items

        return read

    def remember(self, positions: Sequence[int], items: list[Any]) -> None:
        self._positions += positions
        self._embeddings += items

    def match(self, items: list[Any]) -> Nearest:
        index, cosine, near = most_similar(torch.stack(items), self._blocks(), self._threshold - 1e-6)
        known = np.asarray([*self._positions, -1])  # index -1 is none
        return Nearest(known[index], np.where(index < 0, np.inf, np.maximum(1 - cosine, 0)), np.unique(known[near]))

    def _blocks(self) -> Iterator[Tensor]:
        for start in range(0, len(self._embeddings), BLOCK):
            yield torch.stack(self._embeddings[start : start + BLOCK])

    def _emptiness(self, dataset: datasets.Dataset) -> Callable[[np.ndarray], np.ndarray]:
        """Tells which rows have no content, without decoding images."""
        name = self._content.columns[0]
        empty: Callable[[Any], bool]
        if self._content.kind == "image":
            stored, empty = undecoded(dataset, name), no_image
        elif self._content.kind == "text":
            stored, empty = dataset.with_format(None).select_columns([name]), lambda text: not (text or "").strip()
        else:
            return lambda positions: np.zeros(len(positions), dtype=bool)
        return lambda positions: np.asarray([empty(value) for value in take(stored, positions)[name]])

    @torch.no_grad()
    def _embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Unit vectors `(B, D)` in float32."""
        training = self._model.training
        self._model.eval()
        try:
            states = self._model(**inputs, output_hidden_states=True).hidden_states
        finally:
            self._model.train(training)
        if not states:
            raise UnsupportedModelError(
                f"{type(self._model).__name__} gives no hidden states, so its rows have no embedding to compare. "
                "Leave out the method 'embedding'."
            )
        state = states[(len(states) - 1) // 2].float()  # the first is what the model embeds
        if state.ndim == 4:  # (B, D, H, W)
            pooled = state.mean(dim=(2, 3))
        elif "attention_mask" in inputs:  # (B, L, D)
            mask = inputs["attention_mask"][..., None].to(state.dtype)
            pooled = (state * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        else:
            pooled = state.mean(dim=1)
        return torch.nn.functional.normalize(pooled, dim=1)


def _read(rows: Rows, positions: np.ndarray, split: str) -> list[dict[str, Any]]:
    try:
        return rows.__getitems__(positions.tolist())
    except Exception:
        for position in positions.tolist():
            try:
                rows[position]
            except Exception as error:
                raise DataError(
                    f"Row {position} of the split {split!r} cannot be turned into model inputs "
                    f"({type(error).__name__}). Remove the row or mend it, or leave out the method 'embedding'."
                ) from None
        raise


def _collated(rows: list[dict[str, Any]], model: PreTrainedModel) -> dict[str, Tensor]:
    """A batch on the model's device; token rows are padded at the end, and the model does not look there."""
    for row in rows:
        row.pop("labels", None)
    if "input_ids" in rows[0]:
        for row in rows:
            row.setdefault("attention_mask", [1] * len(row["input_ids"]))
        fill = {"input_ids": getattr(model.config, "pad_token_id", None) or 0}
        columns = {name: [torch.as_tensor(row[name]) for row in rows] for name in rows[0]}
        batch = {
            name: pad_sequence(values, batch_first=True, padding_value=fill.get(name, 0))
            for name, values in columns.items()
        }
    else:
        batch = default_data_collator(rows)
    return {
        name: value.to(model.device, dtype=model.dtype if value.is_floating_point() else None)
        for name, value in batch.items()
    }

"""Which columns of a data set say what a row is, and of what kind they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from ..data.encoders import is_audio, is_text
from ..data.rows import LABEL_COLUMNS
from ..errors import DataError

MODEL_INPUTS = ("pixel_values", "input_ids", "input_values", "input_features")
ARRAYS = (datasets.Array2D, datasets.Array3D, datasets.Array4D, datasets.Array5D)

Reader = Callable[[np.ndarray], list[Any]]
"""Gives the items of the rows at some positions, `None` where a row has nothing to compare."""


@dataclass(frozen=True)
class Content:
    """The columns that are compared.

    Attributes:
        columns: their names, sorted.
        kind: `image` (encoded images), `pixels` (arrays), `text`, `tokens`, `audio`, or `other`.
    """

    columns: tuple[str, ...]
    kind: str


def find_content(splits: Mapping[str, datasets.Dataset], columns: Sequence[str] | str | None) -> Content:
    """The columns that count: `columns`, else media, else model inputs, else the only text column.

    Raises:
        DataError: they cannot be told, or a split lacks them or holds another kind of thing in them.
    """
    forget = splits["forget"]
    if columns is None:
        chosen = _guess(forget)
    else:
        chosen = [columns] if isinstance(columns, str) else list(columns)
    if not chosen:
        raise DataError("`columns` is empty: name at least one column by which rows are compared.")
    content = None
    for name, dataset in splits.items():
        missing = [column for column in chosen if column not in dataset.column_names]
        if missing:
            raise DataError(
                f"The split {name!r} has no column {missing[0]!r}; its columns are {dataset.column_names}. Rows are "
                f"compared by {chosen}, which every split must have: choose with `columns=`, or leave the split out."
            )
        kinds = {_kind(column, dataset.features[column]) for column in chosen}
        found = Content(tuple(sorted(chosen)), kinds.pop() if len(kinds) == 1 else "other")
        if content is not None and found != content:
            raise DataError(
                f"The columns {chosen} hold {content.kind} in the split 'forget' and {found.kind} in {name!r}. "
                "Different kinds of rows cannot be compared: cast them to the same features."
            )
        content = found
    assert content is not None
    return content


def take(dataset: datasets.Dataset, positions: np.ndarray) -> dict[str, Any]:
    """The rows at some positions, as a slice where they follow each other, which reads faster."""
    if len(positions) and positions[-1] - positions[0] == len(positions) - 1:
        return dataset[int(positions[0]) : int(positions[-1]) + 1]
    return dataset[positions.tolist()]


def undecoded(dataset: datasets.Dataset, column: str) -> datasets.Dataset:
    """An image column alone, its rows as `{"bytes": ..., "path": ...}`."""
    return dataset.with_format(None).select_columns([column]).cast_column(column, datasets.Image(decode=False))


def no_image(value: dict[str, Any] | None) -> bool:
    """Whether an undecoded image is none."""
    return value is None or value["bytes"] is None and value["path"] is None


def _guess(dataset: datasets.Dataset) -> list[str]:
    features = dataset.features
    media = [name for name in features if isinstance(features[name], (datasets.Image, datasets.Audio))]
    arrays = [name for name in features if name in MODEL_INPUTS or isinstance(features[name], ARRAYS)]
    texts = [name for name in features if is_text(features[name]) and name not in LABEL_COLUMNS]
    sounds = [name for name in features if is_audio(features[name])]  # waveforms
    if media or arrays or sounds:
        return media or arrays or sounds
    if len(texts) == 1:
        return texts
    found = f"several text columns, {texts}" if texts else f"no image, audio, model input or text in {list(features)}"
    raise DataError(
        f"There are {found}. Name the columns by which rows are the same, such as `columns={(texts or ['text'])[:1]}`."
    )


def _kind(name: str, feature: Any) -> str:
    if isinstance(feature, datasets.Image):
        return "image"
    if isinstance(feature, ARRAYS) or name == "pixel_values":
        return "pixels"
    if is_audio(feature):
        return "audio"
    if is_text(feature):
        return "text"
    item = getattr(feature, "feature", None)
    if isinstance(item, datasets.Value) and item.dtype.startswith(("int", "uint")):
        return "tokens"
    return "other"

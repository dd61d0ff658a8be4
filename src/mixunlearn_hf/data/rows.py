"""One view of any data set: rows as dictionaries of model inputs, with an integer label where there is one."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ..errors import DataError
from .encoders import Encode, UnfitRow, find_encoder, is_text

NO_LABEL = -100  # what PyTorch's and transformers' cross entropy ignore
LABEL_COLUMNS = ("labels", "label", "label_ids")
ARRAYS = ("pixel_values", "input_values", "input_features")  # inputs that are slow to read as lists


class Rows(torch.utils.data.Dataset):
    """Rows of a data set as the model takes them.

    Columns the model does not take are dropped and the label column is renamed to `labels`. Where the data set holds
    raw images, text or audio, `processing_class` turns them into model inputs on the fly, a batch at a time; nothing
    is cached.

    Args:
        dataset: a `datasets.Dataset`, or any map-style data set whose items are dictionaries.
        input_names (`Sequence[str]`): what the model's forward takes.
        main_input (`str`): the model's main input, such as `pixel_values`, `input_ids` or `input_values`.
        processing_class: image processor, tokenizer or feature extractor, needed for raw images, text or audio only.
        label_column (`str`): found by itself where it is called `labels` or `label`, or is the only `ClassLabel`.
        name (`str`): how error messages call the data set.
        max_length (`int`): longest row the model takes, in tokens; longer raw text is cut, also at the tokenizer's
            `model_max_length`.
    """

    def __init__(
        self,
        dataset: Any,
        input_names: Sequence[str],
        main_input: str,
        processing_class: Any = None,
        label_column: str | None = None,
        name: str = "dataset",
        max_length: int | None = None,
    ) -> None:
        streams = (datasets.IterableDataset, torch.utils.data.IterableDataset)
        if isinstance(dataset, streams) or not hasattr(dataset, "__len__"):
            raise DataError(
                f"`{name}` is a stream without a length ({type(dataset).__name__}). Unlearning pairs forget rows with "
                "retain rows by their position: pass a `datasets.Dataset` or another data set with `__len__` and "
                "`__getitem__`."
            )
        if isinstance(dataset, dict):
            raise DataError(f"`{name}` holds the splits {list(dataset)}. Pass one of them, such as `data['train']`.")
        self.name = name
        self.max_length = max_length
        self.input_names = frozenset(input_names) - {"labels"}
        self.dataset = dataset
        self._encode: Encode | None = None
        self._stored_labels: datasets.Dataset | None = None
        self._labels: np.ndarray | None = None
        transformed = isinstance(dataset, datasets.Dataset) and dataset.format["type"] == "custom" and len(dataset) > 0
        made = list(dataset[0]) if transformed else []
        self.label_column = find_label_column(dataset, label_column, name, made)
        if isinstance(dataset, datasets.Dataset) and len(dataset):
            self._find_stored_labels(made)
            if not transformed:
                self._encode = self._encoder(main_input, processing_class)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        positions = [int(index) for index in indices]
        if isinstance(self.dataset, datasets.Dataset):
            columns = self._read(positions)
            names = list(columns)
            rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        else:
            rows = [self.dataset[position] for position in positions]
        kept = [{name: value for name, value in row.items() if name in self.input_names} for row in rows]
        if self.label_column is not None:
            if self._stored_labels is not None:
                labels = self._stored_labels[positions][self.label_column]
            else:
                labels = [row.get(self.label_column) for row in rows]
            for row, label in zip(kept, labels, strict=True):
                row["labels"] = as_label(label)
        return kept

    def _read(self, positions: list[int]) -> dict[str, Any]:
        """Columns of some rows, encoded. A row that cannot be read is named by its position alone."""
        try:
            columns = self.dataset[positions]
            return columns if self._encode is None else {**columns, **self._encode(columns)}
        except (OSError, UnfitRow) as error:
            if len(positions) > 1:
                for position in positions:
                    self._read([position])
            wrong = (
                f"cannot be read ({type(error).__name__}): its image is damaged, or its file is missing. Mend or "
                "remove such rows."
            )
            wrong = str(error) if isinstance(error, UnfitRow) else wrong
            raise DataError(f"Row {positions[0]} of `{self.name}` {wrong}") from None

    @property
    def randomly_augmented(self) -> bool:
        """Whether reading the same rows twice can give two results, found by trying with a few rows."""
        if self._encode is not None:
            return False
        probe = list(range(min(len(self), 16)))
        first, second = self.__getitems__(probe), self.__getitems__(probe)
        return any(
            not np.array_equal(np.asarray(one[key]), np.asarray(two[key]))
            for one, two in zip(first, second, strict=True)
            for key in one
        )

    def labels(self) -> np.ndarray | None:
        """All labels, `NO_LABEL` where a row has none, or `None` where they are not known without reading the rows."""
        if self._stored_labels is not None and self._labels is None:
            self._labels = stored_labels(self._stored_labels, str(self.label_column))
        return self._labels

    def class_names(self) -> list[str] | None:
        """Names of the classes, where the stored labels have names."""
        feature = None if self._stored_labels is None else self._stored_labels.features[self.label_column]
        return feature.names if isinstance(feature, datasets.ClassLabel) else None

    def _find_stored_labels(self, made: list[str]) -> None:
        """Use the stored label column, unless a transform, which gives the columns `made`, makes labels of its own."""
        if self.label_column not in self.dataset.column_names:
            return
        stored = self.dataset.with_format(None).select_columns([self.label_column])
        column = next((name for name in (self.label_column, *LABEL_COLUMNS) if name in made), None)
        if is_text(stored.features[self.label_column]):
            if column is not None and column != self.label_column:
                self.label_column = column  # the transform encodes them
                return
            raise DataError(
                f"The labels of `{self.name}` in {self.label_column!r} are text, the model takes class numbers. "
                "Encode them in the model's order, such as by `cast_column` to `ClassLabel(names=[...])`, or name "
                "another column with `label_column`."
            )
        if column is not None:
            values = [as_label(value) for value in stored[self.label_column]]
            _, one_of_each = np.unique(values, return_index=True)
            probe = [*one_of_each.tolist()[:64], *range(min(len(self), 16))]
            if [as_label(value) for value in self.dataset[probe][column]] != [values[index] for index in probe]:
                self.label_column = column
                return
        self._stored_labels = stored

    def _encoder(self, main_input: str, processing_class: Any) -> Encode:
        columns = self.dataset.column_names
        if main_input in columns:
            self.dataset = self.dataset.select_columns([name for name in columns if name in self.input_names])
            if main_input in ARRAYS and self.dataset.format["type"] is None:
                self.dataset = self.dataset.with_format("numpy", columns=[main_input], output_all_columns=True)
            return lambda batch: {}
        self.dataset, encode = find_encoder(self.dataset, main_input, processing_class, self.name, self.max_length)
        return encode


def find_label_column(
    dataset: Any, wanted: str | None = None, name: str = "dataset", made: Sequence[str] = ()
) -> str | None:
    """The label column of a data set: `wanted`, else one called `labels` or `label`, else the only `ClassLabel`.

    Stored columns go before those that a transform has `made`.
    """
    if isinstance(dataset, datasets.Dataset):
        columns = [*dataset.column_names, *made]
        class_labels = [key for key, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)]
    else:
        columns, class_labels = [], []
        for row in (dataset[index] for index in range(min(len(dataset), 16))):
            if not isinstance(row, Mapping):
                raise DataError(
                    f"The rows of `{name}` are of the type {type(row).__name__}. They must be dictionaries of model "
                    "inputs, such as {'pixel_values': ..., 'labels': ...}."
                )
            columns += [column for column in row if column not in columns]
    if wanted is not None:
        if columns and wanted not in columns:
            raise DataError(
                f"`{name}` has no column {wanted!r}; its columns are {columns}. Set `label_column` to one of them."
            )
        return wanted
    usual = [column for column in columns if column in LABEL_COLUMNS]
    return usual[0] if usual else class_labels[0] if len(class_labels) == 1 else None


def stored_labels(dataset: datasets.Dataset, column: str) -> np.ndarray:
    """The labels of all rows, `NO_LABEL` where a row has none.

    Raises:
        DataError: the column does not hold one class number a row.
    """
    stored = dataset.select_columns([column]).with_format("arrow")[:][column]
    if not pa.types.is_integer(stored.type):
        return np.asarray([as_label(value) for value in stored.to_pylist()])
    labels = pc.fill_null(stored, NO_LABEL).to_numpy().astype(np.int64)
    return np.where(labels < 0, NO_LABEL, labels)


def as_label(value: Any) -> int:
    """A label as an integer; `None` and negative values, which `datasets` uses for "no label", become `NO_LABEL`.

    Raises:
        DataError: the value is not one class number. Its text says of which type it is, not what it is.
    """
    if value is None:
        return NO_LABEL
    try:
        if value != value:  # NaN
            return NO_LABEL
        label = int(value)
        whole = label == value and not isinstance(value, str)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise DataError(
            f"A label is of the type {type(value).__name__} and not one class number. Encode labels as numbers in the "
            "order of the model's classes, one a row."
        )
    return label if label >= 0 else NO_LABEL

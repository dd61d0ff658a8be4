"""Rows that read a column when it is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets

from .digests import MEDIA


def lazy_rows(dataset: datasets.Dataset, size: int = 1000) -> Iterator["_LazyRow"]:
    """All rows, one by one: a function that looks at user ids decodes no image."""
    columns = {name: dataset.with_format(None).select_columns([name]) for name in dataset.column_names}
    for start in range(0, len(dataset), size):
        batch = _Batch(columns, slice(start, min(start + size, len(dataset))))
        for position in range(batch.rows.start, batch.rows.stop):
            yield _LazyRow(batch, position)


class _Batch:
    """Some neighbouring rows. Their columns are read together, and kept; images and sounds are not."""

    def __init__(self, columns: dict[str, datasets.Dataset], rows: slice) -> None:
        self.columns = columns
        self.rows = rows
        self.read: dict[str, Sequence[Any]] = {}

    def value(self, name: str, position: int) -> Any:
        column = self.columns[name]
        if isinstance(column.features[name], MEDIA):
            return column[position][name]
        self.read[name] = column[self.rows][name]
        return self.read[name][position - self.rows.start]


class _LazyRow(Mapping[str, Any]):
    __slots__ = ("_batch", "_position")

    def __init__(self, batch: _Batch, position: int) -> None:
        self._batch, self._position = batch, position

    def __getitem__(self, name: str) -> Any:
        batch = self._batch
        if name in batch.read:
            return batch.read[name][self._position - batch.rows.start]
        return batch.value(name, self._position)

    def __contains__(self, name: object) -> bool:
        return name in self._batch.columns  # that of `Mapping` reads the value

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.columns)

    def __len__(self) -> int:
        return len(self._batch.columns)

"""Rows that are the same, by the digests of their canonical bytes."""

import secrets
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from ..data.digests import row_digests
from .content import Content, Reader
from .nearest import Nearest


class SameBytes:
    """Finds rows whose columns hold the same bytes. Rows without content, `None` or empty text, are left out."""

    batch_size = 1000

    def __init__(self, content: Content) -> None:
        self.description = "the same bytes"
        self._columns = content.columns
        self._key = secrets.token_bytes(32)
        empty: list[Any] = [None, "", []]
        rows = [datasets.Dataset.from_dict({name: [value] for name in content.columns}) for value in empty]
        self._empty = {self.digests(row)[0] for row in rows}
        self._known: dict[bytes, list[int]] = {}

    def digests(self, dataset: datasets.Dataset) -> list[bytes]:
        """Digests of all rows with the key of this search, which nobody else has."""
        return row_digests(dataset, self._columns, self._key)

    def reader(self, dataset: datasets.Dataset, split: str) -> Reader:
        def read(positions: np.ndarray) -> list[Any]:
            digests = self.digests(dataset.select(positions))
            return [None if digest in self._empty else digest for digest in digests]

        return read

    def remember(self, positions: Sequence[int], items: list[Any]) -> None:
        for position, digest in zip(positions, items, strict=True):
            self._known.setdefault(digest, []).append(position)

    def match(self, items: list[Any]) -> Nearest:
        found = [self._known.get(digest, []) for digest in items]
        index = np.asarray([same[0] if same else -1 for same in found], dtype=np.int64)
        near = np.asarray([position for same in found for position in same], dtype=np.int64)
        return Nearest(index, np.where(index < 0, np.inf, 0.0), np.unique(near))

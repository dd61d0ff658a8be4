"""Texts that read the same, by MinHash candidates and the true overlap of their character n-grams."""

import unicodedata
import zlib
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from .content import Content, Reader, take
from .nearest import Nearest

CHARACTERS = 5  # a piece of text; shorter ones share too much, longer ones break at every changed word
TOKENS = 2  # a piece of a row of token ids
PERMUTATIONS = 128
MISSED = 1e-3  # chance that the index overlooks two texts that are just near enough


class SimilarTexts:
    """Finds texts of which most pieces are the same: Jaccard similarity of the sets of their character 5-grams.

    Case, punctuation, white space and compatible forms of characters have no say. A text shorter than a piece is one
    piece. Token ids are compared by pairs of neighbours. `datasketch` proposes candidates by MinHash, whose similarity
    is then computed exactly.

    Args:
        content: text columns, which are read as one text, or one column of token ids.
        threshold (`float` in (0, 1]): Jaccard similarity from which two texts are near.
    """

    batch_size = 1000

    def __init__(self, content: Content, threshold: float) -> None:
        from datasketch import MinHash, MinHashLSH

        pieces = f"{CHARACTERS} characters" if content.kind == "text" else f"{TOKENS} tokens"
        self.description = f"MinHash, Jaccard similarity of pieces of {pieces} at least {threshold}"
        self._columns, self._kind, self._threshold = content.columns, content.kind, threshold
        self._index = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(threshold))
        self._blank = MinHash(PERMUTATIONS, hashfunc=int)
        self._texts: dict[bytes, int] = {}  # pieces of a text to its number: texts that are the same are kept once
        self._pieces: list[np.ndarray] = []
        self._positions: list[list[int]] = []
        self._sketches: list[np.ndarray] = []
        # An estimate from 128 permutations lies below the truth by more than four standard deviations once in 30,000
        self._least_estimate = threshold - 4 * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5

    def reader(self, dataset: datasets.Dataset, split: str) -> Reader:
        stored = dataset.with_format(None).select_columns(list(self._columns))

        def read(positions: np.ndarray) -> list[Any]:
            rows = take(stored, positions)
            if self._kind == "tokens":
                return [token_pieces(ids) for ids in rows[self._columns[0]]]
            texts = zip(*(rows[name] for name in self._columns), strict=True)
            return [text_pieces("\n".join(part for part in parts if part)) for parts in texts]

        return read

    def remember(self, positions: Sequence[int], items: list[Any]) -> None:
        for position, pieces in zip(positions, items, strict=True):
            number = self._texts.setdefault(pieces.tobytes(), len(self._pieces))
            if number < len(self._pieces):
                self._positions[number].append(position)
                continue
            sketch = self._sketch(pieces)
            self._index.insert(number, sketch)
            self._pieces.append(pieces)
            self._positions.append([position])
            self._sketches.append(sketch.hashvalues)

    def match(self, items: list[Any]) -> Nearest:
        index, distance = np.full(len(items), -1), np.full(len(items), np.inf)
        near: list[int] = []
        for row, pieces in enumerate(items):
            similar = [(1 - self._similarity(pieces, number), number) for number in self._candidates(pieces)]
            similar = [pair for pair in similar if pair[0] <= 1 - self._threshold + 1e-9]
            if similar:
                distance[row], number = min(similar)
                index[row] = self._positions[number][0]
                near += [position for _, number in similar for position in self._positions[number]]
        return Nearest(index, distance, np.unique(np.asarray(near, dtype=np.int64)))

    def _candidates(self, pieces: np.ndarray) -> list[int]:
        sketch = self._sketch(pieces)
        numbers = self._index.query(sketch)
        if not numbers:
            return []
        estimates = np.mean([self._sketches[number] == sketch.hashvalues for number in numbers], axis=1)
        return [
            number for number, estimate in zip(numbers, estimates, strict=True) if estimate >= self._least_estimate
        ]

    def _sketch(self, pieces: np.ndarray) -> Any:
        sketch = self._blank.copy()
        sketch.update_batch(pieces.tolist())
        return sketch

    def _similarity(self, pieces: np.ndarray, number: int) -> float:
        shared = len(np.intersect1d(pieces, self._pieces[number], assume_unique=True))
        return shared / (len(pieces) + len(self._pieces[number]) - shared)


def normalized(text: str) -> str:
    """A text without what is easily changed: compatible forms (NFKC), case, punctuation, runs of white space."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c for c in text if not unicodedata.category(c).startswith("P")).split())


def text_pieces(text: str) -> np.ndarray | None:
    """The set of 5-grams of a text, as sorted 32-bit checksums; `None` where nothing is left of it."""
    text = normalized(text)
    if not text:
        return None
    starts = range(max(len(text) - CHARACTERS + 1, 1))
    return _checksums({text[start : start + CHARACTERS].encode("utf-8", "surrogatepass") for start in starts})


def token_pieces(ids: Sequence[int] | None) -> np.ndarray | None:
    """The set of pairs of neighbouring token ids, as sorted 32-bit checksums; `None` where there is no token."""
    if ids is None or not len(ids):
        return None
    numbers = np.asarray(ids, dtype=np.int64)
    starts = range(max(len(numbers) - TOKENS + 1, 1))
    return _checksums({numbers[start : start + TOKENS].tobytes() for start in starts})


def _checksums(pieces: set[bytes]) -> np.ndarray:
    return np.unique(np.fromiter(map(zlib.crc32, pieces), dtype=np.uint32, count=len(pieces)))


def _bands(threshold: float) -> tuple[int, int]:
    """As few bands `b` of as many permutations `r` as still find texts at the threshold but for `MISSED`.

    Two texts of similarity `s` share a band, and so become candidates, with probability `1 - (1 - s^r)^b`.
    """
    for rows in range(PERMUTATIONS // 2, 1, -1):
        bands = PERMUTATIONS // rows
        if (1 - threshold**rows) ** bands <= MISSED:
            return bands, rows
    return PERMUTATIONS, 1

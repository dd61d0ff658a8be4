"""Images that look the same, by perceptual hashes of their inner part, which a shift of one pixel cannot change."""

from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import PIL.Image
import torch

from ..errors import DataError
from .content import Content, Reader, take, undecoded
from .nearest import BLOCK, Nearest
from .pictures import of_array, of_stored, window

HASH_SIZE = 16  # 256 bits; with 64 a shift by a pixel hides among look-alikes (docs/related.md)
BITS = HASH_SIZE**2
CANDIDATE_BITS = 64  # a quarter. Pictures within them are near if they correlate
SHIFTS = [(x, y) for x in (0, -1, 1) for y in (0, -1, 1)]  # pixels of the small picture; none comes first
PAIRS = 10_000  # correlated at once


class SimilarImages:
    """Finds images whose perceptual hashes differ in few bits, or in some if their pixels correlate.

    Every image becomes a grey picture of 32 x 32 pixels, and its inner 30 x 30 pixels are hashed
    (`imagehash.phash`, 256 bits). Of a forget row the eight neighbouring windows of that size are hashed as well: the
    inner part of a copy shifted by a pixel is one of them, whatever has been filled in at its border.

    Where a picture is smooth, half of its bits are noise and change when it is compressed again, while its pixels
    hardly do: pictures that differ in up to 64 bits count if their pixels correlate.

    Args:
        content: an image column, or one of arrays with 1 or 3 channels.
        threshold (`int`): bits of 256 that may differ.
        correlation (`float` in (0, 1], or `None`): correlation of the inner pixels from which up to 64 bits may.
    """

    batch_size = 1000

    def __init__(self, content: Content, threshold: int, correlation: float | None) -> None:
        self.description = f"perceptual hash, at most {threshold} of {BITS} bits differ"
        if correlation is not None:
            self.description += f", or {CANDIDATE_BITS} where pixels correlate by at least {correlation}"
        self._column, self._kind = content.columns[0], content.kind
        self._threshold, self._correlation = threshold, correlation
        self._positions: list[int] = []
        self._hashes: list[np.ndarray] = []  # one (9, 32) a forget row, 8 bits a byte
        self._pictures: list[np.ndarray] = []  # one (32, 32) a forget row

    def reader(self, dataset: datasets.Dataset, split: str) -> Reader:
        column = self._column
        if self._kind == "image":
            stored, picture = undecoded(dataset, column), of_stored
        else:
            stored, picture = dataset.select_columns([column]).with_format("numpy"), of_array

        def read(positions: np.ndarray) -> list[Any]:
            values = (value for few in _few(positions) for value in take(stored, few)[column])
            items = []
            for position, value in zip(positions, values, strict=True):
                try:
                    items.append(picture(value))
                except Exception as error:
                    raise DataError(
                        f"The image in row {position} of the split {split!r} cannot be read "
                        f"({type(error).__name__}). Remove the row or mend it, or leave out the method 'near'."
                    ) from None
            return items

        return read

    def remember(self, positions: Sequence[int], items: list[Any]) -> None:
        self._positions += positions
        self._hashes += [np.stack([_hash(window(picture, *shift)) for shift in SHIFTS]) for picture in items]
        self._pictures += items

    def match(self, items: list[Any]) -> Nearest:
        rows, signs = np.stack(items), _signs(np.stack([_hash(window(picture)) for picture in items]))
        index, distance = np.full(len(items), -1), np.full(len(items), np.inf)
        near = [np.empty(0, dtype=np.int64)]
        size = max(BLOCK // len(SHIFTS), 1)
        for first in range(0, len(self._hashes), size):
            hashes = _signs(np.concatenate(self._hashes[first : first + size]))
            agreement = (signs @ hashes.T).view(len(items), -1, len(SHIFTS))  # (B, M, 9)
            best, shift = agreement.max(dim=2)
            bits = (BITS - best) / 2  # (B, M)
            furthest = self._threshold if self._correlation is None else max(self._threshold, CANDIDATE_BITS)
            row, other = (bits <= furthest).nonzero(as_tuple=True)
            pairs = (row.numpy(), other.numpy() + first, shift[row, other].numpy(), bits[row, other].numpy())
            row_numbers, other_numbers, _, differing = self._accepted(rows, *pairs)
            order = np.lexsort((other_numbers, differing))[::-1]  # the nearest is written last
            better = order[differing[order] < distance[row_numbers[order]]]
            index[row_numbers[better]], distance[row_numbers[better]] = other_numbers[better], differing[better]
            near.append(other_numbers)
        known = np.asarray([*self._positions, -1])  # index -1 is none
        return Nearest(known[index], distance, np.unique(known[np.concatenate(near)]))

    def _accepted(self, rows: np.ndarray, *pairs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of pairs (row, forget row, shift, bits that differ) those that are near."""
        row, other, shift, bits = pairs
        accepted = bits <= self._threshold
        doubtful = np.flatnonzero(~accepted)
        for start in range(0, len(doubtful), PAIRS):
            some = doubtful[start : start + PAIRS]
            theirs = np.stack([self._pictures[number] for number in other[some]])
            moved = np.empty((len(some), *window(theirs).shape[1:]), dtype=np.uint8)
            for number, xy in enumerate(SHIFTS):
                moved[shift[some] == number] = window(theirs[shift[some] == number], *xy)
            accepted[some] = _correlation(window(rows[row[some]]), moved) >= (self._correlation or np.inf)
        return tuple(values[accepted] for values in pairs)


def _few(positions: np.ndarray, size: int = 100) -> Iterator[np.ndarray]:
    """A few positions at a time: encoded images can be large."""
    return (positions[start : start + size] for start in range(0, len(positions), size))


def _hash(picture: np.ndarray) -> np.ndarray:
    import imagehash

    found = imagehash.phash(PIL.Image.fromarray(picture), hash_size=HASH_SIZE, highfreq_factor=2)
    return np.packbits(found.hash)  # (32,)


def _signs(hashes: np.ndarray) -> torch.Tensor:
    """Bits as -1 and 1: `(..., 32)` bytes to `(N, 256)`, so that a dot product counts the bits that agree."""
    bits = np.unpackbits(hashes.reshape(-1, BITS // 8), axis=1)
    return torch.from_numpy(bits).float().mul_(2).sub_(1)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation of each of `(N, 30, 30)` with each of the other, `(N,)`."""
    pixels = [pictures.reshape(len(pictures), -1).astype(np.float32) for pictures in (first, second)]
    one, two = (values - values.mean(axis=1, keepdims=True) for values in pixels)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return (one * two).sum(axis=1) / np.maximum(norms, 1e-6)

"""What a search found: positions and counts, never the content of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from ..data.splits import move_to_forget
from ..errors import ConfigError, SplitError
from .exact import SameBytes

METHODS = ("exact", "near", "embedding")


@dataclass(frozen=True)
class Matches:
    """Rows of one split that one method found.

    Attributes:
        positions (`np.ndarray` of shape `(N,)`): their positions in the split, ascending.
        forget_positions (`np.ndarray` of shape `(N,)`): position of the nearest forget row of each.
        distances (`np.ndarray` of shape `(N,)`): its distance: 0 for `exact`; bits that differ for images; 1 - Jaccard
            similarity for texts; 1 - cosine for embeddings.
        forget_rows (`np.ndarray`): positions of all forget rows that are near one of them, ascending.
        left_out (`int`): rows of the split with nothing to compare, such as an empty text or a blank image.
    """

    positions: np.ndarray
    forget_positions: np.ndarray
    distances: np.ndarray
    forget_rows: np.ndarray
    left_out: int


class RelatedRows:
    """Rows that are the same as a forget row, or nearly so. [`find_related`] makes it.

    A row counts once, under the first of `exact`, `near` and `embedding` that found it.

    Attributes:
        searched (`dict[str, str]`): the methods that were used, and how.
        not_searched (`dict[str, str]`): the methods that were not, and why.
        rows (`dict[str, int]`): rows of each split, `forget` included.
        forget_left_out (`dict[str, int]`): forget rows with nothing to compare, by method.
    """

    def __init__(
        self,
        matches: Mapping[str, Mapping[str, Matches]],
        searched: Mapping[str, str],
        not_searched: Mapping[str, str],
        rows: Mapping[str, int],
        forget_left_out: Mapping[str, int],
        fingerprint: tuple[SameBytes, Mapping[str, list[bytes]]],
    ) -> None:
        self._matches = {split: dict(by_method) for split, by_method in matches.items()}
        self.searched, self.not_searched = dict(searched), dict(not_searched)
        self.rows, self.forget_left_out = dict(rows), dict(forget_left_out)
        self._fingerprint = fingerprint

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows found, by split and method."""
        return {
            split: {method: len(matches.positions) for method, matches in by_method.items()}
            for split, by_method in self._matches.items()
        }

    def matches(self, split: str, method: str) -> Matches:
        """Rows of a split that a method found, and the forget row nearest to each.

        Raises:
            ConfigError: the split or the method was not searched.
        """
        if split not in self._matches:
            raise ConfigError(f"The split {split!r} was not searched; searched: {list(self._matches)}.")
        if method not in self.searched:
            reason = self.not_searched.get(method, f"there is no such method; there are {list(METHODS)}")
            raise ConfigError(f"The method {method!r} was not used: {reason}.")
        return self._matches[split][method]

    def positions(self, split: str, methods: Sequence[str] | str | None = None) -> np.ndarray:
        """Positions of the rows found in a split, ascending, by any method or by some.

        Raises:
            ConfigError: the split or a method was not searched.
        """
        chosen = [methods] if isinstance(methods, str) else list(self.searched if methods is None else methods)
        found = [self.matches(split, method).positions for method in chosen]
        return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *found]))

    def move_to_forget(
        self, splits: Mapping[str, datasets.Dataset], methods: Sequence[str] | str | None = None
    ) -> datasets.DatasetDict:
        """New splits in which the rows found in the retain set belong to the forget set.

        What is moved can have relatives of its own: search again afterwards.

        Args:
            splits: those that were searched.
            methods (names): move only what these found, such as `"exact"`.

        Raises:
            SplitError: these are not the splits that were searched, or nothing would be left to retain.
            ConfigError: the retain set or a method was not searched.
        """
        found = self.positions("retain")
        search, digests = self._fingerprint
        changed = [name for name in ("forget", "retain") if len(splits[name]) != self.rows[name]]
        if changed or search.digests(splits["retain"].select(found)) != digests["retain"]:
            raise SplitError(
                "These are not the splits that were searched: other rows stand where related rows were found, and the "
                "wrong ones would be moved. Pass the same splits, or search again with `find_related`."
            )
        positions = self.positions("retain", methods)
        if not len(positions):
            return datasets.DatasetDict(splits) if not isinstance(splits, datasets.DatasetDict) else splits
        return move_to_forget(splits, positions.tolist(), reason="related")

    def to_dict(self) -> dict[str, Any]:
        """All counts and what was searched, as JSON can hold it."""
        found = {
            split: {
                method: {
                    "rows": len(matches.positions),
                    "forget_rows": len(matches.forget_rows),
                    "left_out": matches.left_out,
                }
                for method, matches in by_method.items()
            }
            for split, by_method in self._matches.items()
        }
        return {
            "rows": dict(self.rows),
            "found": found,
            "forget_left_out": dict(self.forget_left_out),
            "searched": dict(self.searched),
            "not_searched": dict(self.not_searched),
        }

    def __repr__(self) -> str:
        lines: list[tuple[str, ...]] = [("split", "method", "rows", "of", "forget rows", "of", "left out")]
        for split, by_method in self._matches.items():
            for method, matches in by_method.items():
                numbers = (len(matches.positions), self.rows[split], len(matches.forget_rows), self.rows["forget"])
                lines.append((split, method, *map(str, numbers), str(matches.left_out)))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                entry.ljust(width) if place < 2 else entry.rjust(width)
                for place, (entry, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        notes = [f"{method}: {how}" for method, how in self.searched.items()]
        notes += [f"{method} was not searched: {why}" for method, why in self.not_searched.items()]
        return "\n".join([*table, *notes])

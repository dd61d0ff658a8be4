"""Pairs of a forget and a retain row, so that sampling, sharding, epochs and step counts stay the Trainer's own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .rows import NO_LABEL, Rows

VALUES = ("target", "floor")  # what may travel with a row beside its inputs and its label
Pair = tuple[int, int]  # row of the forget set, row of the retain set


class PairedDataset(torch.utils.data.Dataset):
    """A forget set and a retain set, read by pairs of row numbers; an epoch is one pass over the forget set.

    Values of `forget_values` and `retain_values`, tensors with one entry a row, travel with their rows under their
    names; `target` of shape `(N, C)` is one of them.
    """

    def __init__(self, forget: Rows, retain: Rows) -> None:
        self.forget = forget
        self.retain = retain
        self.forget_values: dict[str, Tensor] = {}
        self.retain_values: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.forget)

    def __getitem__(self, pair: Pair) -> dict[str, dict[str, Any]]:
        return self.__getitems__([pair])[0]

    def __getitems__(self, pairs: Sequence[Pair]) -> list[dict[str, dict[str, Any]]]:
        forget_indices, retain_indices = zip(*pairs, strict=True)
        forget = _read(self.forget, forget_indices, self.forget_values)
        retain = _read(self.retain, retain_indices, self.retain_values)
        return [{"forget": one, "retain": other} for one, other in zip(forget, retain, strict=True)]


def _read(rows: Rows, indices: Sequence[int], values: dict[str, Tensor]) -> list[dict[str, Any]]:
    read = rows.__getitems__(indices)
    for row, index in zip(read, indices, strict=True):
        row.update({name: value[index] for name, value in values.items()})
    return read


class PairedSampler(torch.utils.data.Sampler[Pair]):
    """Every forget row once an epoch, in random order, each with a partner from the retain set.

    Partners are drawn without replacement: epoch after epoch they walk through one endless sequence of permutations
    of the retain set, so that no retain row is seen twice before every other was seen once. Everything follows from
    `(seed, epoch)`; nothing has to be saved to continue in the middle.
    """

    def __init__(self, num_forget: int, num_retain: int, seed: int) -> None:
        self.num_forget = num_forget
        self.num_retain = num_retain
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_forget

    def __iter__(self) -> Iterator[Pair]:
        order = np.random.default_rng([self.seed, 0, self.epoch]).permutation(self.num_forget)
        start = self.epoch * self.num_forget
        partners = self.partners(start, start + self.num_forget)
        return iter([(int(i), int(j)) for i, j in zip(order, partners, strict=True)])

    def partners(self, start: int, stop: int) -> np.ndarray:
        """Partners number `start` to `stop` of the endless sequence, as rows of the retain set."""
        first, last = start // self.num_retain, max(stop - 1, start) // self.num_retain
        passes = [
            np.random.default_rng([self.seed, 1, number]).permutation(self.num_retain)
            for number in range(first, last + 1)
        ]
        return np.concatenate(passes)[start - first * self.num_retain : stop - first * self.num_retain]


@dataclass
class PairCollator:
    """Pairs to `{"forget": {...}, "retain": {...}}`, padded jointly, since samples are mixed position by position.

    Labels never reach `collator`, which may not know rows without one; they are added as `labels` of shape `(B,)` with
    `NO_LABEL` for rows that have none, and left out where no row has any.
    """

    collator: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, Any]:
        if "forget" not in pairs[0]:  # plain rows, of an evaluation
            return self.collator(pairs)
        size = len(pairs)
        both = self.rows([pair["forget"] for pair in pairs] + [pair["retain"] for pair in pairs])
        batch = {}
        for name, half in (("forget", slice(0, size)), ("retain", slice(size, 2 * size))):
            batch[name] = {key: value[half] for key, value in both.items()}
            if "labels" in batch[name] and (batch[name]["labels"] == NO_LABEL).all():
                del batch[name]["labels"]
            values = [{key: pair[name][key] for key in VALUES if key in pair[name]} for pair in pairs]
            batch[name] |= {key: torch.stack([value[key] for value in values]) for key in values[0]}
        return batch

    def rows(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows as one batch, with `labels` added behind the collator's back where any row has one."""
        labels = [row.get("labels", NO_LABEL) for row in rows]
        inputs = [{key: value for key, value in row.items() if key not in (*VALUES, "labels")} for row in rows]
        batch = dict(self.collator(inputs))
        if any(label != NO_LABEL for label in labels):
            batch["labels"] = torch.tensor(labels)
        return batch

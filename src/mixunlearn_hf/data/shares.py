"""Random shares of a data set, of each class where there are labels, and the rows that are held out."""

import math
from typing import Any

import datasets
import numpy as np
from transformers.utils import logging

from ..errors import SplitError
from .rows import find_label_column
from .selectors import class_labels

logger = logging.get_logger(__name__)


def labels_of_shares(rows: datasets.Dataset, label_column: str | None, per_class: bool | None) -> np.ndarray | None:
    """Labels, where a share is to be taken of each class."""
    name = None if per_class is False else find_label_column(rows, label_column)
    if per_class and name is None:
        raise SplitError(
            f"`per_class` needs labels, and none of the columns {rows.column_names} is known as one. Set "
            "`label_column`."
        )
    return None if name is None else class_labels(rows, name)


def share(
    chosen: np.ndarray, fraction: float, labels: np.ndarray | None, rng: np.random.Generator, name: str = "fraction"
) -> np.ndarray:
    """A random `fraction` of the chosen rows, class by class where there are labels."""
    if not isinstance(fraction, (int, float, np.floating)) or not 0 < fraction < 1:
        raise SplitError(f"`{name}` must be a number and lie strictly between 0 and 1, got {fraction}.")
    candidates = np.flatnonzero(chosen)
    groups = (
        [candidates]
        if labels is None
        else [candidates[labels[candidates] == label] for label in set(labels[candidates].tolist())]
    )
    groups = sorted(groups, key=lambda rows: rows[0])  # the order of a set is not fixed
    picked = [rng.permutation(rows)[: math.floor(fraction * len(rows) + 0.5)] for rows in groups]
    rows = np.concatenate(picked)
    if len(rows) == 0:  # every class is so small that its share rounds to nothing
        rows = rng.permutation(candidates)[:1]
    mask = np.zeros(len(chosen), dtype=bool)
    mask[rows] = True
    return mask


def set_aside(
    rows: datasets.Dataset, others: dict[str, datasets.Dataset], holdout: Any, label_column: str | None, seed: int
) -> tuple[np.ndarray, dict[str, datasets.Dataset]]:
    """Which of the rows are held out, bool of shape `(N,)`, and the other splits, with a holdout from elsewhere."""
    none = np.zeros(len(rows), dtype=bool)
    if isinstance(holdout, datasets.Dataset):
        missing = [name for name in rows.column_names if name not in holdout.column_names]
        if missing:
            raise SplitError(f"`holdout` lacks the column {missing[0]!r}; it must hold rows of the same kind.")
        return none, {"holdout": holdout, **others}
    if isinstance(holdout, str):
        if holdout not in others:
            raise SplitError(f"`holdout` names the split {holdout!r}, and the other splits are {list(others)}.")
        return none, {"holdout": others[holdout]} | {name: part for name, part in others.items() if name != holdout}
    if isinstance(holdout, bool) or not isinstance(holdout, (int, float)):
        raise SplitError(
            f"`holdout` must be a data set, the name of a split or a share, got {type(holdout).__name__}."
        )
    if not others:
        logger.warning(
            "The holdout set is taken from the data set itself. It is unseen only by a model that is trained on the "
            "forget and the retain set after this."
        )
        return _held_out(rows, holdout, label_column, seed), {}
    if "test" not in others:
        raise SplitError(
            f"A share of the split 'test' would be held out, and the other splits are {list(others)}. Name one of "
            "them with `holdout`."
        )
    test = others["test"]
    held = _held_out(test, holdout, label_column, seed)
    parts = {"holdout": test.select(np.flatnonzero(held)), **others, "test": test.select(np.flatnonzero(~held))}
    return none, parts


def _held_out(rows: datasets.Dataset, fraction: float, label_column: str | None, seed: int) -> np.ndarray:
    labels = labels_of_shares(rows, label_column, None)
    held = share(np.ones(len(rows), dtype=bool), fraction, labels, np.random.default_rng([seed, 1]), "holdout")
    if held.all():
        raise SplitError(f"`holdout={fraction}` would take all {len(rows)} rows. Take a smaller share.")
    return held

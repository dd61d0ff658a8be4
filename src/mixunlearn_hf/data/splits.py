"""Split a data set into what must be forgotten and what stays."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..errors import SplitError
from .digests import DigestKey, load_key
from .parts import ForgetRetainSplits, move_to_forget, numbered_labels
from .rows import find_label_column
from .selectors import (
    Phrase,
    Selection,
    by_classes,
    by_digests,
    by_function,
    by_indices,
    by_mask_column,
    by_phrases,
    by_values,
)
from .shares import labels_of_shares, set_aside, share

__all__ = ["ForgetRetainSplits", "move_to_forget", "split_forget_retain"]


def split_forget_retain(
    dataset: datasets.Dataset | datasets.DatasetDict,
    *,
    classes: Sequence[str | int] | str | int | None = None,
    indices: Iterable[int] | None = None,
    column: str | None = None,
    values: Iterable[Any] | None = None,
    contains: Phrase | Sequence[Phrase] | None = None,
    where: Callable[[Mapping[str, Any]], bool] | None = None,
    mask_column: str | None = None,
    digests: str | Path | None = None,
    fraction: float | None = None,
    per_class: bool | None = None,
    holdout: float | str | datasets.Dataset | None = None,
    split: str = "train",
    label_column: str | None = None,
    text_column: str | None = None,
    digest_key: DigestKey | None = None,
    allow_missing: bool = False,
    seed: int = 0,
) -> ForgetRetainSplits:
    """Split a data set into a forget set and a retain set.

    A request is one selector or several: a row must match all of them, and `fraction` then takes a share of the rows
    that do. Rows keep their order, features and class names; no row is copied, and no image is read but by `digests`.

    Args:
        dataset (`datasets.Dataset` or `DatasetDict`): the data the model was trained on. Of a `DatasetDict`, `split`
            is split and the others stay as they are.
        classes (names or ids): rows of these classes.
        indices (`Iterable[int]`): rows at these positions.
        column (`str`), values (`Iterable`): rows that have one of the values in the column, such as users' ids.
        contains (`str`, `re.Pattern`, or several): rows whose text contains one of the phrases as it stands, capitals
            included, or matches one of the regular expressions.
        where (`Callable`): rows for which it returns `True`. It is given a mapping of column names to values, and only
            columns it asks for are read.
        mask_column (`str`): rows that hold true or 1 in this column.
        digests (path): rows whose keyed digest stands in this file, which [`write_digests`] made.
        fraction (`float` in (0, 1)): this share of the rows, or of those that match the other selectors; rounded to
            the nearest row, at least one in all.
        per_class (`bool`): take `fraction` of each class rather than of all rows; the default where there are labels.
        holdout (`Dataset`, `str` or `float`): rows the model was never trained on, as a data set, as the name of a
            split of the `DatasetDict`, or as a share: of the split `test` of a `DatasetDict`, which loses them, or of
            a `Dataset` that the model is yet to be trained on, without them.
        split (`str`): the split of a `DatasetDict` that the model was trained on.
        label_column (`str`): found by itself where it is called `labels` or `label`, or is the only `ClassLabel`.
        text_column (`str`): column that `contains` searches; found by itself where there is one with text.
        digest_key (`bytes`, or path of a file): key of `digests`, see [`load_key`].
        allow_missing (`bool`): accept values, phrases and digests that match no row.
        seed (`int`): chooses the rows of shares.

    Returns:
        [`ForgetRetainSplits`], a `DatasetDict` with the splits `forget`, `retain`, `holdout` where asked for, and the
        others of `dataset`, and with the request in its `record`.

    Raises:
        SplitError: the request matches no row or every row, names what is not there, or contradicts itself.
        DataError: there is no such `label_column`, or what it holds are no labels.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": [0, 1, 1, 2]})
        >>> splits = split_forget_retain(rows, classes=[1])
        >>> splits["forget"]["text"][:], splits["retain"]["text"][:]
        (['b', 'c'], ['a', 'd'])
    """
    rows, others = _trained_on(dataset, split, holdout)
    find_label_column(rows, label_column)  # a name that is none is refused, whoever would use it
    held = np.zeros(len(rows), dtype=bool)
    if holdout is not None:
        held, others = set_aside(rows, others, holdout, label_column, seed)
    if (column is None) != (values is None):
        raise SplitError("`column` and `values` go together: the column to look at, and the values to forget.")
    if text_column is not None and contains is None:
        raise SplitError("`text_column` says where `contains` searches, and there is no `contains`.")
    if digest_key is not None and digests is None:
        raise SplitError(
            "`digest_key` is the key of `digests`, and there are no `digests`. Those of the record: `digest`."
        )
    if per_class is not None and fraction is None:
        raise SplitError("`per_class` says how `fraction` is taken, and there is no `fraction`.")
    selected: list[Selection] = []
    if classes is not None:
        selected.append(by_classes(rows, classes, label_column))
    if indices is not None:
        selected.append(by_indices(rows, indices))
    if column is not None:
        selected.append(by_values(rows, column, values, allow_missing))
    if contains is not None:
        selected.append(by_phrases(rows, contains, text_column, allow_missing))
    if where is not None:
        selected.append(by_function(rows, where))
    if mask_column is not None:
        selected.append(by_mask_column(rows, mask_column))
    if digests is not None:
        selected.append(by_digests(rows, digests, load_key(digest_key), allow_missing))
    if not selected and fraction is None:
        raise SplitError(
            "Say what to forget: `classes=`, `indices=`, `column=` with `values=`, `contains=`, `where=`, "
            "`mask_column=`, `digests=`, `fraction=`, or several."
        )
    selected = [replace(one, mask=one.mask & ~held) for one in selected]
    chosen = _all_of(selected, ~held)
    described = [one.described() for one in selected]
    if fraction is not None:
        groups = labels_of_shares(rows, label_column, per_class)
        chosen = share(chosen, fraction, groups, np.random.default_rng(seed))
        described.append(
            {
                "selector": "fraction",
                "fraction": float(fraction),
                "per_class": groups is not None,
                "rows": int(chosen.sum()),
            }
        )
    retained = ~(chosen | held)
    if not retained.any():
        raise SplitError(
            f"The request covers all {int(chosen.sum())} rows. Nothing would be left to retain: train a new model."
        )
    masks = {"forget": chosen, "retain": retained} | ({"holdout": held} if held.any() else {})
    parts = {name: rows.select(np.flatnonzero(mask)) for name, mask in masks.items()}
    labels = numbered_labels(rows, label_column)
    known = {} if labels is None else {name: labels[mask] for name, mask in masks.items()}
    return ForgetRetainSplits.of({**parts, **others}, described, int(seed), label_column, known)


def _trained_on(dataset: Any, split: str, holdout: Any) -> tuple[datasets.Dataset, dict[str, datasets.Dataset]]:
    """The rows the model was trained on, and the other splits."""
    if isinstance(dataset, (datasets.IterableDataset, datasets.IterableDatasetDict)):
        raise SplitError(
            f"Expected a `datasets.Dataset`, got {type(dataset).__name__}: rows of a stream have no position, and "
            "forgetting pairs rows by position and visits them more than once. Make a data set of as many rows as are "
            "needed: `Dataset.from_list(list(stream.take(n)))`."
        )
    others: dict[str, datasets.Dataset] = {}
    if isinstance(dataset, datasets.DatasetDict):
        if split not in dataset:
            raise SplitError(f"There is no split {split!r} among {list(dataset)}. Set `split` to the one trained on.")
        others = {name: part for name, part in dataset.items() if name != split}
        reserved = ("forget", "retain") if holdout is None or holdout == "holdout" else ("forget", "retain", "holdout")
        taken = [name for name in reserved if name in others]
        if taken:
            raise SplitError(
                f"The data set has a split {taken[0]!r} already, a name that the result needs. Rename it, or pass "
                f"`dataset[{split!r}]`."
            )
        dataset = dataset[split]
    if not isinstance(dataset, datasets.Dataset):
        raise SplitError(f"Expected a `datasets.Dataset` or a `DatasetDict`, got {type(dataset).__name__}.")
    if len(dataset) == 0:
        raise SplitError("The data set has no rows: there is nothing to forget.")
    return dataset, others


def _all_of(selected: list[Selection], eligible: np.ndarray) -> np.ndarray:
    """Eligible rows that every selector matches, bool of shape `(N,)`."""
    for one in selected:
        if not one.mask.any():
            name, count = one.asked["selector"], int(eligible.sum())
            left = "" if eligible.all() else " that are not held out"
            raise SplitError(f"`{name}` matches none of the {count} rows{left}: there is nothing to forget.")
    chosen = np.logical_and.reduce([eligible, *(one.mask for one in selected)])
    if not chosen.any():
        counts = ", ".join(f"`{one.asked['selector']}` {int(one.mask.sum())}" for one in selected)
        raise SplitError(
            f"No row matches all selectors together; alone they match: {counts}. A row must match every one of them. "
            "To forget what any of them matches, use `where=` or `indices=`."
        )
    return chosen

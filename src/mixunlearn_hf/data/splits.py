"""Split a data set into what must be forgotten and what stays."""

import math
from collections.abc import Sequence

import datasets
import numpy as np

from ..errors import SplitError
from .rows import NO_LABEL, as_label, find_label_column, is_text


def split_forget_retain(
    dataset: datasets.Dataset,
    *,
    classes: Sequence[str | int] | str | int | None = None,
    fraction: float | None = None,
    label_column: str | None = None,
    seed: int = 0,
) -> datasets.DatasetDict:
    """Split a data set into a forget set and a retain set.

    Rows keep their order, features and class names; no row is copied.

    Args:
        dataset (`datasets.Dataset`): the data the model was trained on.
        classes (names or ids): forget the rows of these classes.
        fraction (`float` in (0, 1)): forget this share of the rows, or, with `classes`, of the rows of each of them.
            A share of each class where the rows have labels, of all rows else; rounded to the nearest row, at least
            one in all.
        label_column (`str`): found by itself where it is called `labels` or `label`, or is the only `ClassLabel`.
        seed (`int`): chooses the rows of a `fraction`.

    Returns:
        `DatasetDict` with the splits `forget` and `retain`.

    Raises:
        SplitError: nothing or everything would be forgotten, or a class is not in the data.
        DataError: there is no such `label_column`, or what it holds are no labels.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": [0, 1, 1, 2]})
        >>> splits = split_forget_retain(rows, classes=[1])
        >>> splits["forget"]["text"][:], splits["retain"]["text"][:]
        (['b', 'c'], ['a', 'd'])
    """
    if not isinstance(dataset, datasets.Dataset):
        raise SplitError(
            f"Expected one `datasets.Dataset`, got {type(dataset).__name__}. Pass one split of it, such as "
            "`dataset['train']`."
        )
    if len(dataset) == 0:
        raise SplitError("The data set has no rows: there is nothing to forget.")
    if classes is None and fraction is None:
        raise SplitError("Say what to forget: `classes=`, `fraction=`, or both.")
    column = find_label_column(dataset, label_column)
    if classes is not None and column is None:
        raise SplitError(
            f"`classes` needs labels, and none of the columns {dataset.column_names} is known as one. Set "
            "`label_column`."
        )
    if classes is not None and len(_as_list(classes)) == 0:
        raise SplitError("`classes` is empty: name at least one class to forget.")
    labels = None if column is None else _labels(dataset, column)
    chosen = np.ones(len(dataset), dtype=bool)
    if classes is not None and labels is not None:
        chosen = np.isin(labels, [_class_id(dataset, str(column), name, labels) for name in _as_list(classes)])
    if fraction is not None:
        chosen = _share(chosen, fraction, labels, np.random.default_rng(seed))
    if chosen.all():
        raise SplitError(
            f"The request covers all {len(dataset)} rows. Nothing would be left to retain: train a new model."
        )
    return datasets.DatasetDict(
        forget=dataset.select(np.flatnonzero(chosen)), retain=dataset.select(np.flatnonzero(~chosen))
    )


def _as_list(classes: Sequence[str | int] | str | int) -> list[str | int]:
    return [classes] if isinstance(classes, (str, int, np.integer)) else list(classes)


def _labels(dataset: datasets.Dataset, column: str) -> np.ndarray:
    values = dataset.with_format(None).select_columns([column])[column][:]
    if is_text(dataset.features[column]):
        return np.asarray(values, dtype=object)
    return np.asarray([as_label(value) for value in values])


def _class_id(dataset: datasets.Dataset, column: str, name: str | int, labels: np.ndarray) -> str | int:
    """The value of the label column that stands for class `name`."""
    feature, known = dataset.features[column], set(labels.tolist()) - {None, NO_LABEL}
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    value = names.index(name) if names is not None and name in names else name
    if value not in known:
        if names is not None:
            described: object = [names[label] for label in sorted(known)][:50]
        elif not is_text(feature) and max(known, default=0) < 1000:
            described = sorted(known)[:50]
        else:  # a column named by mistake could hold anything
            described = f"{len(known)} different ones"
        raise SplitError(f"No row has the class {name!r}. Classes in {column!r}: {described}.")
    return value


def _share(chosen: np.ndarray, fraction: float, labels: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """A random `fraction` of the chosen rows, class by class where there are labels."""
    if not 0 < fraction < 1:
        raise SplitError(f"`fraction` must lie strictly between 0 and 1, got {fraction}.")
    candidates = np.flatnonzero(chosen)
    groups = (
        [candidates]
        if labels is None
        else [candidates[labels[candidates] == v] for v in set(labels[candidates].tolist())]
    )
    groups = sorted(groups, key=lambda rows: rows[0])  # the order of a set is not fixed
    picked = [rng.permutation(rows)[: math.floor(fraction * len(rows) + 0.5)] for rows in groups]
    rows = np.concatenate(picked)
    if len(rows) == 0:  # every class is so small that its share rounds to nothing
        rows = rng.permutation(candidates)[:1]
    mask = np.zeros(len(chosen), dtype=bool)
    mask[rows] = True
    return mask

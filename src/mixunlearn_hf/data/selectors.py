"""Ways to say which rows to forget. Each gives a mask over the rows and tells what was asked, not what rows hold."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import SplitError
from .digests import key_id, read_digests, require_columns, row_digests
from .lazy import lazy_rows
from .matching import SHOWN, Phrase, contains, missing_values, unmatched_phrases
from .rows import NO_LABEL, find_label_column, is_text, stored_labels

UNNAMED = 1000  # numbers from here on, without names, may be ids of people rather than classes: they are not shown


@dataclass(frozen=True)
class Selection:
    """The rows one selector matches, bool of shape `(N,)`, and what it asked for: kinds and counts, no content."""

    asked: dict[str, Any]
    mask: np.ndarray

    def described(self) -> dict[str, Any]:
        return {**self.asked, "rows": int(self.mask.sum())}


def by_classes(dataset: datasets.Dataset, classes: Any, label_column: str | None) -> Selection:
    """Rows of classes, by their names or numbers."""
    name = find_label_column(dataset, label_column)
    if name is None:
        raise SplitError(
            f"`classes` needs labels, and none of the columns {dataset.column_names} is known as one. Set "
            "`label_column`."
        )
    wanted = as_list(classes)
    if not wanted:
        raise SplitError("`classes` is empty: name at least one class to forget.")
    labels = class_labels(dataset, name)
    present = set(labels) if labels.dtype == object else set(np.unique(labels).tolist())
    if not all(isinstance(one, (str, int, float, np.number)) for one in wanted):
        raise SplitError("`classes` must be names or numbers of classes, one or a list of them.")
    ids: list[Any] = [_class_id(dataset, name, one, present - {None, NO_LABEL}) for one in wanted]
    names = class_names(dataset, name)
    known = [names[i] for i in ids] if names else ids
    could_be_ids = names is None and (is_text(dataset.features[name]) or max(ids) >= UNNAMED)
    asked = len(ids) if could_be_ids else known
    return Selection({"selector": "classes", "classes": asked}, np.isin(labels, ids))


def by_indices(dataset: datasets.Dataset, indices: Iterable[int]) -> Selection:
    """Rows by their position."""
    try:
        wanted = np.asarray(as_list(indices))
    except ValueError:  # lists of different length
        raise SplitError("`indices` must be whole numbers, one a row, got lists of them.") from None
    if wanted.size == 0:
        raise SplitError("`indices` is empty: name at least one row to forget.")
    if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
        raise SplitError(
            f"`indices` must be whole numbers, one a row, got {wanted.dtype} of the shape {wanted.shape}. A mask over "
            "all rows becomes one by `np.flatnonzero(mask)`."
        )
    outside = wanted[(wanted < 0) | (wanted >= len(dataset))]
    if outside.size:
        raise SplitError(
            f"{outside.size} of {wanted.size} `indices` lie outside the data set, such as {outside[0]}: it has "
            f"{len(dataset)} rows, numbered 0 to {len(dataset) - 1}."
        )
    mask = np.zeros(len(dataset), dtype=bool)
    mask[wanted] = True
    return Selection({"selector": "indices", "indices": int(wanted.size)}, mask)


def by_values(dataset: datasets.Dataset, name: str, values: Any, allow_missing: bool) -> Selection:
    """Rows with one of some values in a column, such as those of some users."""
    require_columns(dataset, [name])
    column = arrow_column(dataset, name)
    if pa.types.is_nested(column.type):
        raise SplitError(
            f"`values` needs a column with one value a row, and {name!r} holds {column.type}. Use `where=`."
        )
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        column = column.cast(pa.int64())  # a number too large for the column is one that no row has
    given = as_list(values)
    if not given:
        raise SplitError("`values` is empty: name at least one value to forget.")
    wanted = [_as_type(value, column.type, name) for value in given]
    mask = pc.is_in(column, value_set=pa.array(wanted, column.type)).to_numpy().astype(bool)
    if not allow_missing:
        known = set(pc.unique(column).to_pylist())
        missing = [value for value, typed in zip(given, wanted, strict=True) if typed not in known]
        if missing:
            raise SplitError(missing_values(f"of {len(given)} `values`", name, missing, column))
    return Selection({"selector": "column", "column": name, "values": len(set(wanted))}, mask)


def by_phrases(dataset: datasets.Dataset, phrases: Any, text_column: str | None, allow_missing: bool) -> Selection:
    """Rows whose text contains one of some phrases, word for word, or matches one of some regular expressions."""
    texts = [name for name, feature in dataset.features.items() if is_text(feature)]
    if text_column is None and len(texts) != 1:
        raise SplitError(
            f"`contains` needs a column of text; those of this data set are {texts or 'none'}. "
            + ("Set `text_column`." if texts else "Forget by another selector.")
        )
    name = texts[0] if text_column is None else text_column
    require_columns(dataset, [name])
    if not is_text(dataset.features[name]):
        raise SplitError(f"`contains` needs a column of text, and {name!r} holds none. Text stands in {texts}.")
    wanted: list[Phrase] = as_list(phrases)
    if not all(isinstance(one.pattern if isinstance(one, re.Pattern) else one, str) for one in wanted):
        raise SplitError("`contains` must be phrases or regular expressions of text (`re.compile(...)`).")
    if not wanted or any((one.pattern if isinstance(one, re.Pattern) else one) == "" for one in wanted):
        raise SplitError("`contains` is empty, or holds an empty phrase, which every text contains.")
    column = arrow_column(dataset, name)
    masks = [contains(column, one) for one in wanted]
    unmatched = [one for one, mask in zip(wanted, masks, strict=True) if not mask.any()]
    if unmatched and not allow_missing:
        raise SplitError(unmatched_phrases(name, unmatched, column))
    return Selection(
        {"selector": "contains", "text_column": name, "phrases": len(wanted)}, np.logical_or.reduce(masks)
    )


def by_function(dataset: datasets.Dataset, where: Callable[[Mapping[str, Any]], bool]) -> Selection:
    """Rows for which a function says yes. It is given one row at a time and reads only the columns it asks for."""
    mask = np.zeros(len(dataset), dtype=bool)
    for position, row in enumerate(lazy_rows(dataset)):
        try:
            answer = where(row)
        except Exception as error:  # its text could show the row
            raise SplitError(
                f"`where` raised {type(error).__name__} on row {position}. Rows map column names "
                f"{dataset.column_names} to values; try it on `dataset[{position}]`."
            ) from None
        if not isinstance(answer, (bool, np.bool_)):
            raise SplitError(
                f"`where` must say True or False, and gave {type(answer).__name__} for row {position}. Wrap what it "
                "returns in `bool(...)`."
            )
        mask[position] = answer
    return Selection({"selector": "where"}, mask)


def by_mask_column(dataset: datasets.Dataset, name: str) -> Selection:
    """Rows that are marked, by true or 1, in a column."""
    require_columns(dataset, [name])
    column = arrow_column(dataset, name)
    marks = set(pc.unique(column).to_pylist()[:3]) if pa.types.is_boolean(column.type) or _whole(column) else {None}
    if not marks <= {True, False}:  # 1 and 0 are equal to them
        raise SplitError(
            f"`mask_column` must hold true or false (or 1 or 0) for every row, and {name!r} does not: it is of the "
            f"type {column.type} with {column.null_count} empty values."
        )
    return Selection({"selector": "mask_column", "column": name}, column.cast(pa.bool_()).to_numpy().astype(bool))


def by_digests(dataset: datasets.Dataset, path: str | Path, key: bytes, allow_missing: bool) -> Selection:
    """Rows whose keyed digest stands in a file (`digests.py`)."""
    columns, listed = read_digests(path, key)
    require_columns(dataset, columns)
    wanted, found = set(listed), row_digests(dataset, columns, key)
    missing = len(wanted - set(found))
    if missing and not allow_missing:
        raise SplitError(
            f"{missing} of {len(wanted)} digests in {str(path)!r} match no row. They were made over the columns "
            f"{columns}: rows that have changed since do not match. Pass `allow_missing=True` to forget the others."
        )
    mask = np.fromiter((digest in wanted for digest in found), dtype=bool, count=len(found))
    return Selection({"selector": "digests", "digests": len(wanted), "key": key_id(key), "columns": columns}, mask)


# ---- columns ----


def arrow_column(dataset: datasets.Dataset, name: str) -> pa.ChunkedArray:
    """A stored column as Arrow has it, in the order of the rows; no other column is read."""
    column = dataset.select_columns([name]).with_format("arrow")[:][name]
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column  # few functions take it


def class_labels(dataset: datasets.Dataset, name: str) -> np.ndarray:
    """Class of every row: numbers, `NO_LABEL` where it has none, or text where the column holds text."""
    if is_text(dataset.features[name]):
        return np.asarray(arrow_column(dataset, name).to_pylist(), dtype=object)
    return stored_labels(dataset, name)


def class_names(dataset: datasets.Dataset, name: str) -> list[str] | None:
    feature = dataset.features[name]
    return feature.names if isinstance(feature, datasets.ClassLabel) else None


def as_list(values: Any) -> list[Any]:
    return [values] if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) else list(values)


def _whole(column: pa.ChunkedArray) -> bool:
    return pa.types.is_integer(column.type)


# ---- classes, values and phrases as they were given ----


def _class_id(dataset: datasets.Dataset, column: str, name: str | int, known: set[Any]) -> str | int:
    """The value of the label column that stands for class `name`; `known` are those that rows have."""
    names = class_names(dataset, column)
    value = names.index(name) if names is not None and name in names else name
    if value not in known and isinstance(value, str) and value.isdecimal() and not is_text(dataset.features[column]):
        value = int(value)  # as a command line has it
    if value not in known:
        near: list[str] = []
        if names is not None:
            present = [names[label] for label in sorted(known)]
            described: object = present[:50]
            near = difflib.get_close_matches(str(name), present, SHOWN) or [
                one for one in present if one.casefold() == str(name).casefold()
            ]
        elif not is_text(dataset.features[column]) and max(known, default=0) < UNNAMED:
            described = sorted(known)[:50]
        else:  # a column named by mistake could hold anything
            described = f"{len(known)} different ones"
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise SplitError(f"No row has the class {name!r}. Classes in {column!r}: {described}.{hint}")
    return value if isinstance(value, str) else int(value)


def _as_type(value: Any, type_: pa.DataType, name: str) -> Any:
    """A value as the column holds it: ids from a file or a command line are text, also where it holds numbers."""
    try:
        if value is None:  # one empty line in a list of ids is no request for all rows without an id
            raise TypeError
        if pa.types.is_integer(type_) and not isinstance(value, (bool, np.bool_)):
            if not isinstance(value, str) and value % 1 != 0:  # Arrow would cut it to a number that was not asked for
                raise ValueError
            value = int(value)
        if (pa.types.is_string(type_) or pa.types.is_large_string(type_)) and isinstance(
            value, (str, int, np.integer)
        ):
            return str(value)
        typed = pa.scalar(value, type_).as_py()
        if pa.types.is_temporal(type_) and typed != value:  # here too: noon would become the day
            raise ValueError
        return typed
    except (TypeError, ValueError, OverflowError, pa.ArrowException):
        raise SplitError(
            f"One of the `values` is of the type {type(value).__name__}, and the column {name!r} holds {type_}."
        ) from None

"""Each way to say what to forget, against a list comprehension over the rows."""

import datetime
import itertools
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from texts import TOPICS, texts

from mixunlearn_hf.data.digests import write_digests
from mixunlearn_hf.data.splits import split_forget_retain
from mixunlearn_hf.errors import SplitError

CANARY = "canary-5d1f"
KEY = b"a key for tests, 27 bytes.."
BROKEN = {"bytes": b"no image at all", "path": None}


def forgotten(rows: datasets.Dataset, **request: Any) -> list[int]:
    return list(split_forget_retain(rows, **request)["forget"].with_format(None)["row"])


def expected(rows: datasets.Dataset, matches: Callable[[dict[str, Any]], bool]) -> list[int]:
    return [row["row"] for row in rows.with_format(None).to_list() if matches(row)]


def refusal(rows: Any, **request: Any) -> str:
    """Text of the refusal, when the whole traceback is free of what rows hold."""
    with pytest.raises(SplitError) as caught:
        split_forget_retain(rows, **request)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert "Traceback" not in "".join(traceback.format_exception(caught.value)[1:])  # no second, chained one
    return str(caught.value)


# ---- the same rows as a list comprehension finds, however the data are stored ----

Case = tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]
CASES: dict[str, Case] = {
    "a class by name": ({"classes": "sport"}, lambda row: row["topic"] == 1),
    "classes by name and number": ({"classes": ["sport", np.int64(3)]}, lambda row: row["topic"] in (1, 3)),
    "a value": ({"column": "user", "values": "u-07"}, lambda row: row["user"] == "u-07"),
    "values": ({"column": "user", "values": ["u-07", "u-55"]}, lambda row: row["user"] in ("u-07", "u-55")),
    "a value twice": ({"column": "user", "values": ["u-07", "u-07"]}, lambda row: row["user"] == "u-07"),
    "values of a set": ({"column": "user", "values": {"u-07", "u-12"}}, lambda row: row["user"] in ("u-07", "u-12")),
    "numbers": ({"column": "number", "values": [3, 61]}, lambda row: row["number"] in (3, 61)),
    "numbers as text": ({"column": "number", "values": ["3", "61"]}, lambda row: row["number"] in (3, 61)),
    "numbers of NumPy": ({"column": "number", "values": np.array([3, 61])}, lambda row: row["number"] in (3, 61)),
    "whole floats": ({"column": "number", "values": [3.0, np.float32(61)]}, lambda row: row["number"] in (3, 61)),
    "true": ({"column": "spoken", "values": [True]}, lambda row: row["spoken"]),
    "a phrase": ({"contains": "Orla Tindrel", "text_column": "text"}, lambda row: "Orla Tindrel" in row["text"]),
    "a phrase with signs": ({"contains": "Quillow & Sons", "text_column": "text"}, lambda row: " & " in row["text"]),
    "signs that mean something to a regex": (
        {"contains": ["colours?", "(", "two."], "text_column": "text", "allow_missing": True},
        lambda row: "colours?" in row["text"],
    ),
    "phrases": (
        {"contains": ["Dunmere", "Scarle"], "text_column": "text"},
        lambda row: "Dunmere" in row["text"] or "Scarle" in row["text"],
    ),
    "a regex": (
        {"contains": re.compile(r"^(Snow|Fog)\b"), "text_column": "text"},
        lambda row: row["text"].startswith(("Snow ", "Fog ")),
    ),
    "a regex for any case": (
        {"contains": [re.compile("PELLWORTH", re.IGNORECASE), "Fog"], "text_column": "text"},
        lambda row: "pellworth" in row["text"].lower() or "Fog" in row["text"],
    ),
    "text beside a column": (
        {"contains": "u-2", "text_column": "user"},
        lambda row: row["user"] is not None and "u-2" in row["user"],
    ),
    "a function": ({"where": lambda row: row["user"] is None}, lambda row: row["user"] is None),
    "a function of two columns": (
        {"where": lambda row: row["topic"] == 2 and len(row["text"]) > 50},
        lambda row: row["topic"] == 2 and len(row["text"]) > 50,
    ),
    "a mask": ({"mask_column": "spoken"}, lambda row: row["spoken"]),
}


def large_strings(rows: datasets.Dataset) -> datasets.Dataset:
    large = datasets.Value("large_string")
    return rows.cast_column("text", large).cast_column("user", large)


def refuse(batch: dict[str, list]) -> dict[str, list]:
    raise AssertionError("a transform ran")


STORED: dict[str, Callable[[datasets.Dataset, Path], datasets.Dataset]] = {
    "in memory": lambda rows, folder: rows,
    "shuffled": lambda rows, folder: rows.shuffle(seed=1),
    "in pieces": lambda rows, folder: datasets.concatenate_datasets(
        [rows.select(range(7)), rows.select(range(7, 40))]
    ),
    "on disk": lambda rows, folder: datasets.Dataset.from_parquet(
        str(rows.to_parquet(folder / "rows.parquet") and folder / "rows.parquet"), cache_dir=str(folder)
    ),
    "large strings": lambda rows, folder: large_strings(rows),
    "string views": lambda rows, folder: rows.cast_column("text", datasets.Value("string_view")),
    "as tensors": lambda rows, folder: rows.with_format("torch"),
    "behind a transform": lambda rows, folder: rows.with_transform(refuse),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, datasets.Dataset]:
    return {name: store(texts(), tmp_path_factory.mktemp("rows")) for name, store in STORED.items()}


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("name", CASES)
def test_selector_finds_what_a_list_comprehension_finds(
    name: str, storage: str, stored: dict[str, datasets.Dataset]
) -> None:
    request, matches = CASES[name]
    wanted = expected(stored[storage], matches)
    assert 0 < len(wanted) < 40
    assert forgotten(stored[storage], **request) == wanted


PAIRS = list(
    itertools.combinations(["a class by name", "values", "phrases", "a function of two columns", "a mask"], 2)
)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_row_must_match_every_selector(first: str, second: str) -> None:
    """Rows that match one of two are none that were asked for."""
    (one, matches_one), (other, matches_other) = CASES[first], CASES[second]
    wanted = expected(texts(), lambda row: matches_one(row) and matches_other(row))
    if wanted:
        assert forgotten(texts(), **one, **other) == wanted
    else:
        assert "No row matches all selectors together" in refusal(texts(), **one, **other)


def test_selectors_without_a_common_row_are_told_with_their_counts() -> None:
    message = refusal(texts(), column="number", values=[60], contains="Orla Tindrel", text_column="text")
    assert "No row matches all selectors together; alone they match: `column` 3, `contains` 3." in message


def test_all_selectors_together(tmp_path: Path) -> None:
    rows = texts()
    write_digests(rows.select([11, 12]), tmp_path / "digests", KEY)
    everything = {
        "classes": "sport",
        "indices": range(20),
        "column": "user",
        "values": ["u-07"],
        "contains": "Orla",
        "text_column": "text",
        "where": lambda row: "sand" in row["text"],
        "digests": tmp_path / "digests",
        "digest_key": KEY,
    }
    splits = split_forget_retain(rows, **everything)
    assert list(splits["forget"]["row"]) == [11]
    kinds = [one["selector"] for one in splits.record.selectors]
    assert kinds == ["classes", "indices", "column", "contains", "where", "digests"]
    assert [one["rows"] for one in splits.record.selectors] == [10, 20, 5, 3, 1, 2]


# ---- indices ----


@pytest.mark.parametrize(
    "indices",
    [
        [3, 1],
        (3, 1, 3),
        range(1, 4, 2),
        {1, 3},
        iter([1, 3]),
        np.array([3, 1], dtype=np.uint8),
        torch.tensor([1, 3]),
        [np.int64(3), 1],
    ],
    ids=lambda indices: type(indices).__name__,
)
def test_indices_of_any_kind_name_positions(indices: Any) -> None:
    splits = split_forget_retain(texts().shuffle(seed=1), indices=indices)
    assert list(splits["forget"]["row"]) == [texts().shuffle(seed=1)[position]["row"] for position in (1, 3)]


def test_one_index_needs_no_list() -> None:
    assert forgotten(texts(), indices=5) == [5]


# ---- values ----


@pytest.mark.parametrize("value", [9007199254740993, "9007199254740993", np.int64(9007199254740993)], ids=type)
def test_long_ids_are_not_rounded(value: Any) -> None:
    """Ids of 17 digits and more are no floats; their neighbours belong to somebody else."""
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2], "user": [9007199254740992, 9007199254740993, 5]})
    assert forgotten(rows, column="user", values=[value]) == [1]


@pytest.mark.parametrize("dtype", ["string", "large_string", "string_view"])
def test_numbers_find_ids_that_are_stored_as_text(dtype: str) -> None:
    rows = texts().cast_column("number", datasets.Value(dtype))
    assert forgotten(rows, column="number", values=[7, np.int32(55), "61"]) == expected(
        texts(), lambda row: row["number"] in (7, 55, 61)
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int64", "uint64"])
def test_ids_of_any_width_are_found_and_too_large_ones_are_missing(dtype: str) -> None:
    rows = texts().cast_column("number", datasets.Value(dtype))
    assert forgotten(rows, column="number", values=["7"]) == expected(texts(), lambda row: row["number"] == 7)
    assert "1 of 1 `values` match no row in 'number': 5000000000." in refusal(rows, column="number", values=5 * 10**9)


def test_days_are_found_and_times_within_them_are_not_cut_to_days() -> None:
    days = [datetime.date(2020, 5, day) for day in (1, 2, 3)]
    seconds = [datetime.datetime(2020, 5, 1, 12, 0, second) for second in (1, 2, 3)]
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2], "day": days, "time": seconds})
    assert forgotten(rows, column="day", values=days[1:]) == [1, 2]
    assert forgotten(rows, column="time", values=seconds[1]) == [1]
    assert "the column 'day' holds date32" in refusal(rows, column="day", values=[seconds[0]])
    rows = rows.cast_column("time", datasets.Value("timestamp[s]"))
    assert "holds timestamp[s]" in refusal(rows, column="time", values=[seconds[0].replace(microsecond=500)])


def test_missing_values_can_be_accepted() -> None:
    wanted = expected(texts(), lambda row: row["user"] == "u-07")
    assert forgotten(texts(), column="user", values=["u-07", "u-99"], allow_missing=True) == wanted
    message = refusal(texts(), column="user", values=["u-99"], allow_missing=True)
    assert "`column` matches none of the 40 rows: there is nothing to forget" in message


@pytest.mark.parametrize(
    ("value", "near"),
    [("U-07", 0), ("u07", 0), ("u_07 ", 0), ("u-71", None), ("zzzzz", None)],
)
def test_values_that_look_alike_are_named_by_position(value: str, near: int | None) -> None:
    """The value in the row may be personal data, and the message may end up in a log."""
    message = refusal(texts(), column="user", values=["u-12", value])
    assert f"1 of 2 `values` match no row in 'user': {value!r}." in message
    assert "u-07" not in message.replace(value, "")
    assert ("look alike stand in rows 0." in message) == (near == 0)


# ---- phrases ----


def test_empty_texts_contain_nothing() -> None:
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2], "text": [None, "", "fog"]})
    for phrase in ("fog", re.compile("f.g")):
        assert forgotten(rows, contains=phrase) == [2]


def test_other_capitals_are_told_with_a_row_and_the_way_out() -> None:
    message = refusal(texts(), contains="ORLA TINDREL", text_column="text")
    assert "No text in 'text' contains 'ORLA TINDREL'. In other letters' case, 3 rows do, such as row 2" in message
    assert "Orla" not in message
    found = forgotten(texts(), contains=re.compile(re.escape("ORLA TINDREL"), re.IGNORECASE), text_column="text")
    assert found == [2, 11, 32]


def test_words_that_look_alike_are_named_by_position() -> None:
    message = refusal(texts(), contains=["Scarle", "Orla Tindrell"], text_column="text")
    assert "contains 'Orla Tindrell'. Rows 2, 11, 32 have words that look alike." in message
    assert "Tindrel " not in message


def test_only_column_of_text_needs_no_name() -> None:
    assert forgotten(texts().remove_columns("user"), contains="Snow") == [13]


def test_missing_phrases_can_be_accepted() -> None:
    assert forgotten(texts(), contains=["Snow", "Sleet"], text_column="text", allow_missing=True) == [13]


# ---- functions ----


class Counted:
    """Counts decoded images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        decode = datasets.Image.decode_example

        def counting(feature: datasets.Image, value: Any, **kwargs: Any) -> Any:
            self.number += 1
            return decode(feature, value, **kwargs)

        monkeypatch.setattr(datasets.Image, "decode_example", counting)


@pytest.fixture
def broken(digits: datasets.Dataset) -> datasets.Dataset:
    """Digits, of which one is no image and another a file that is not there."""
    images = digits.cast_column("image", datasets.Image(decode=False))["image"][:]
    images[3], images[5] = BROKEN, {"bytes": None, "path": f"/nowhere/{CANARY}.png"}
    rows = digits.remove_columns("image").to_dict() | {"image": images}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({name: digits.features[name] for name in rows}))


@pytest.mark.parametrize(
    "request_",
    [
        {"classes": "three"},
        {"indices": [3, 5]},
        {"column": "label", "values": [3]},
        {"where": lambda row: row["label"] == 3},
        {"where": lambda row: "image" in row and row.get("label") == 3},
        {"mask_column": "marked"},
        {"fraction": 0.5},
        {"fraction": 0.25, "holdout": 0.25},
    ],
    ids=lambda request: " ".join(request),
)
def test_broken_images_do_not_matter_to_selectors_that_do_not_look(
    broken: datasets.Dataset, request_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    splits = split_forget_retain(broken.add_column("marked", [1, 0] * 20), **request_)
    assert sum(map(len, splits.values())) == 40
    assert counted.number == 0


def test_function_that_looks_at_images_decodes_each_once(
    digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    wanted = [row for row, image in enumerate(digits["image"]) if np.asarray(image)[0, 4] > 100]
    counted.number = 0
    assert forgotten(digits, where=lambda row: np.asarray(row["image"])[0, 4] > 100) == wanted
    assert counted.number == 40
    counted.number = 0
    assert forgotten(digits, where=lambda row: row["label"] == 3 and row["image"].size == (8, 8)) == expected(
        digits.remove_columns("image"), lambda row: row["label"] == 3
    )
    assert counted.number == 3  # threes


def test_function_sees_the_row_as_a_mapping() -> None:
    seen: list[Any] = []

    def look(row: Any) -> bool:
        seen.append((list(row), len(row), "text" in row, "nothing" in row, row.get("nothing"), dict(row)))
        return row["row"] == 0

    assert forgotten(texts(), where=look) == [0]
    assert [one[-1] for one in seen] == texts().to_list()
    assert seen[0][:5] == (texts().column_names, 6, True, False, None)


def test_function_reads_rows_beyond_the_first_batch() -> None:
    rows = datasets.Dataset.from_dict({"row": list(range(2500))})
    assert forgotten(rows, where=lambda row: row["row"] % 1000 == 999) == [999, 1999]


def test_function_that_raises_shows_no_row() -> None:
    rows = texts().add_column("secret", [f"{CANARY} {row}" for row in range(40)])

    def fail(row: Any) -> bool:
        if row["row"] == 7:
            raise KeyError(row["secret"])
        return False

    message = refusal(rows, where=fail)
    assert message.startswith("`where` raised KeyError on row 7.") and "'secret'" in message


def test_function_that_looks_at_a_broken_image_is_told_the_row(broken: datasets.Dataset) -> None:
    message = refusal(broken, where=lambda row: row["image"].size == (8, 8))
    assert re.match(r"`where` raised \w+ on row 3\.", message)


@pytest.mark.parametrize("answer", [None, 1, "yes", np.array([True, False])], ids=lambda answer: type(answer).__name__)
def test_function_must_say_true_or_false(answer: Any) -> None:
    """A text such as "False" counts as true."""
    message = refusal(texts(), where=lambda row: answer)
    assert message.startswith(f"`where` must say True or False, and gave {type(answer).__name__} for row 0.")


def test_booleans_of_numpy_are_answers() -> None:
    assert forgotten(texts(), where=lambda row: np.int64(row["row"]) == 4) == [4]


# ---- masks ----


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8"])
def test_mask_of_booleans_or_of_0_and_1(dtype: str) -> None:
    rows = texts().cast_column("spoken", datasets.Value(dtype))
    assert forgotten(rows, mask_column="spoken") == expected(texts(), lambda row: row["spoken"])


@pytest.mark.parametrize(
    "marks",
    [
        [True, None, False],
        [1, 0, None],
        [0, 1, 2],
        [-1, 0, 1],
        [0, 5, 0],
        [1.0, 0.0, 0.0],
        ["1", "0", "0"],
        [None] * 3,
    ],
    ids=str,
)
def test_mask_with_anything_else_is_refused(marks: list[Any]) -> None:
    """A missing mark is no promise to keep a row."""
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2], "mark": marks})
    message = refusal(rows, mask_column="mark")
    assert "`mask_column` must hold true or false (or 1 or 0) for every row, and 'mark' does not" in message
    assert f"with {marks.count(None)} empty values" in message


# ---- refusals ----

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "class with a slip": (
        {"classes": "sports"},
        r"No row has the class 'sports'. Classes in 'topic': \['business', 'sport', .*Did you mean 'sport'\?",
    ),
    "class in capitals": ({"classes": "SPORT"}, r"Did you mean 'sport'\?"),
    "class like no other": ({"classes": "qqq"}, r"\['business', 'sport', 'weather', 'science'\]\.$"),
    "number of no class": ({"classes": [0, 9]}, "No row has the class 9"),
    "half a class": ({"classes": [0.5]}, "No row has the class 0.5"),
    "list of lists of classes": ({"classes": [[0]]}, "names or numbers of classes"),
    "no class": ({"classes": []}, "`classes` is empty"),
    "every class": ({"classes": TOPICS}, "covers all 40 rows. Nothing would be left to retain"),
    "no index": ({"indices": []}, "`indices` is empty"),
    "negative index": (
        {"indices": [0, -1]},
        "1 of 2 `indices` lie outside.*such as -1: it has 40 rows, numbered 0 to 39",
    ),
    "index past the end": ({"indices": [40, 41, 0]}, "2 of 3 `indices` lie outside the data set, such as 40"),
    "boolean mask as indices": ({"indices": [True] + [False] * 39}, r"got bool of the shape \(40,\).*np.flatnonzero"),
    "boolean array as indices": ({"indices": np.ones(40, dtype=bool)}, r"got bool of the shape \(40,\)"),
    "floats as indices": ({"indices": [1.0]}, "whole numbers, one a row, got float64"),
    "text as indices": ({"indices": "12"}, "whole numbers, one a row"),
    "nested indices": ({"indices": [[1], [2]]}, r"one a row, got int64 of the shape \(2, 1\)"),
    "ragged indices": ({"indices": [[1], [2, 3]]}, "whole numbers, one a row"),
    "empty indices among them": ({"indices": [1, None]}, "whole numbers, one a row, got object"),
    "every index": ({"indices": range(40)}, "covers all 40 rows"),
    "values without a column": ({"values": ["u-07"]}, "`column` and `values` go together"),
    "column without values": ({"column": "user"}, "`column` and `values` go together"),
    "no value": ({"column": "user", "values": []}, "`values` is empty"),
    "column that is not there": (
        {"column": "usr", "values": ["u-07"]},
        r"no column 'usr'; its columns are \['row', 'user', 'number', 'text', 'topic', 'spoken'\]",
    ),
    "text where numbers stand": (
        {"column": "number", "values": ["u-07"]},
        "type str, and the column 'number' holds int",
    ),
    "part of a number": (
        {"column": "number", "values": [7.5, np.float64(7.0)]},
        "type float, and the column 'number' holds int",
    ),
    "no number": ({"column": "number", "values": [float("nan")]}, "type float, and the column 'number' holds int"),
    "no end of a number": ({"column": "number", "values": [float("inf")]}, "type float, and the column 'number'"),
    "number beyond 64 bits": ({"column": "number", "values": [2**70]}, "type int, and the column 'number' holds int"),
    "empty value of numbers": ({"column": "number", "values": [7, None]}, "type NoneType, and the column 'number'"),
    "empty value of text": ({"column": "user", "values": ["u-07", None]}, "type NoneType, and the column 'user'"),
    "boolean where numbers stand": ({"column": "number", "values": [True]}, "type bool, and the column 'number'"),
    "missing values": (
        {"column": "user", "values": [f"id {number}" for number in range(7)]},
        r"7 of 7 `values` match no row in 'user': 'id 0', 'id 1', 'id 2', 'id 3', 'id 4' \.\.\.",
    ),
    "text column in doubt": ({"contains": "Fog"}, r"of this data set are \['user', 'text'\]. Set `text_column`"),
    "text column that is not there": ({"contains": "Fog", "text_column": "body"}, "no column 'body'; its columns are"),
    "text column of numbers": (
        {"contains": "7", "text_column": "number"},
        r"holds none. Text stands in \['user', 'text'\]",
    ),
    "text column without a phrase": ({"text_column": "text", "fraction": 0.5}, "there is no `contains`"),
    "no phrase": ({"contains": [], "text_column": "text"}, "`contains` is empty"),
    "empty phrase": ({"contains": ["Fog", ""], "text_column": "text"}, "which every text contains"),
    "empty regex": ({"contains": re.compile(""), "text_column": "text"}, "which every text contains"),
    "number as a phrase": ({"contains": 7, "text_column": "text"}, "must be phrases or regular expressions"),
    "numbers as phrases": ({"contains": [7], "text_column": "text"}, "must be phrases or regular expressions"),
    "bytes as a phrase": ({"contains": b"Fog", "text_column": "text"}, "must be phrases or regular expressions"),
    "regex of bytes": ({"contains": re.compile(b"Fog"), "text_column": "text"}, "must be phrases or regular"),
    "regex that finds nothing": ({"contains": re.compile("F{9}"), "text_column": "text"}, r"contains 'F\{9\}'"),
    "phrase in every text": ({"contains": re.compile("e"), "text_column": "text"}, "covers all 40 rows"),
    "function that says no": ({"where": lambda row: False}, "`where` matches none of the 40 rows"),
    "function that says yes": ({"where": lambda row: True}, "covers all 40 rows"),
    "function of a column that is not there": (
        {"where": lambda row: row["usr"]},
        r"raised KeyError on row 0. Rows map column names \['row', 'user',",
    ),
    "no function": ({"where": "row['user']"}, "`where` raised TypeError on row 0"),
    "mask that is not there": ({"mask_column": "forget"}, "no column 'forget'; its columns are"),
    "share of each class, no share": ({"classes": "sport", "per_class": True}, "there is no `fraction`"),
    "share as text": ({"fraction": "0.5"}, "strictly between 0 and 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_what_is_wrong_and_shows_no_row(name: str) -> None:
    request, message = REFUSED[name]
    rows = texts().to_dict()
    rows["text"], rows["user"][6] = [f"{text} {CANARY}" for text in rows["text"]], CANARY
    rows = datasets.Dataset.from_dict(rows, features=texts().features)
    assert re.search(message, refusal(rows, **request))


def test_selectors_of_columns_with_lists_are_refused() -> None:
    rows = datasets.Dataset.from_dict({"row": [0, 1], "tags": [["a", CANARY], ["b"]]})
    assert "holds list<" in refusal(rows, column="tags", values=["a"])
    assert forgotten(rows, where=lambda row: "a" in row["tags"]) == [0]


def test_text_without_a_column_of_text_points_to_other_selectors(digits: datasets.Dataset) -> None:
    assert "of this data set are none. Forget by another selector" in refusal(digits, contains="three")


def test_classes_that_are_user_numbers_are_not_listed() -> None:
    """A column named by mistake could hold anything."""
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2], "user": [123456, 123457, 5], "name": [CANARY, "b", "c"]})
    message = refusal(rows, classes=[7], label_column="user")
    assert message == "No row has the class 7. Classes in 'user': 3 different ones."
    assert "Classes in 'name': 3 different ones." in refusal(rows, classes=["b "], label_column="name")

import datetime
import decimal
import hashlib
import hmac
import itertools
import json
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from texts import texts

from mixunlearn_hf import files
from mixunlearn_hf.data import digests
from mixunlearn_hf.data.digests import canonical_bytes, digest_of_all, key_id, load_key, row_digests, write_digests
from mixunlearn_hf.data.splits import split_forget_retain
from mixunlearn_hf.errors import OutputExistsError, SplitError

CANARY = "canary-5d1f"
KEY = b"a key for tests, 27 bytes.."
OTHER_KEY = b"another key, 24 bytes..."


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Text of the refusal, when the whole traceback is free of what rows hold."""
    with pytest.raises(SplitError) as caught:
        call(*args, **kwargs)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def forgotten(rows: datasets.Dataset, path: Path, **options: Any) -> list[int]:
    found = split_forget_retain(rows, digests=path, **{"digest_key": KEY, **options})
    return list(found["forget"].with_format(None)["row"])


# ---- bytes that stand for a value ----

NOON = datetime.datetime(2020, 5, 1, 12)
ZOO: list[Any] = [
    *[None, "", b"", "None", "null", [], [None], [[]], [[], []], {}, {"a": None}, {"a": []}, {"": ""}, [""], [b""]],
    *[0, 1, -1, 10, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 0.0, 1.0, 1.5, -1.0, float(2**53), math.inf, -math.inf],
    *["0", "1", "1.0", "True", b"1", "[1]", "a", "A", "ab", "a\0", "\0a", "ä", "a\u0308", "\ud800"],
    *[[1], [1.0], ["1"], [b"1"], [1, 1], [[1, 1]], [[1], [1]], [[1, 2], [3, 4]], [1, 2, 3, 4], [[1, 2, 3, 4]]],
    *[[[1], [2, 3]], [[1, 2], [3]], [[[1]]], [1, None], [None, 1], [None, None], [[None]], [0.5, None], [math.inf]],
    *[
        ["a", "b"],
        ["ab"],
        ["a", "b", ""],
        ["", "a", "b"],
        [["a"], ["b"]],
        [["a", "b"]],
        ["a,b"],
        [256],
        [1, 0],
        [0, 1],
    ],
    *[{"a": 1}, {"b": 1}, {"a": 1.0}, {"a": "1"}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"ab": 1}, [{"a": 1}, {"b": 2}]],
    *[[{"a": 1, "b": 2}], {"a": {"b": 1}}, {"a": [1]}, {"a": b"1"}, [2**63], [2**63 + 1], [-(2**63)], [2**53 + 1]],
    *[[2**53], [float(2**53)], 2**64 - 1, [2**64 - 1], "i", "s1", b"s", b"n"],
    *[NOON, NOON.date(), NOON.time(), str(NOON), NOON.replace(tzinfo=datetime.timezone.utc), [NOON], [NOON.date()]],
    *[datetime.timedelta(hours=12), datetime.timedelta(hours=10), datetime.time(10), datetime.timedelta(days=1)],
    *[decimal.Decimal("1.5"), decimal.Decimal("15"), [decimal.Decimal("1.5")], NOON.replace(microsecond=1)],
]


def test_different_values_never_share_their_bytes() -> None:
    """Two rows would be one, and the wrong one forgotten."""
    seen: dict[bytes, Any] = {}
    for value in ZOO:
        made = canonical_bytes(value)
        assert made not in seen, f"{value!r} and {seen[made]!r}"
        seen[made] = value


def test_different_rows_never_share_their_bytes() -> None:
    """Content must not wander over the border of a column or of a list."""
    values = [None, "", "a", "ab", "b", "abc", "bc", b"a", 1, 12, 2, [], ["a"], ["a", "b"], ["b"], [1], [1, 2], [2]]
    rows = [list(row) for length in (1, 2, 3) for row in itertools.product(values, repeat=length)]
    different = [row for row in rows if not all(type(one) is int for one in row)]  # those are plain lists of numbers
    assert len({canonical_bytes(row) for row in different}) == len(different)


def test_random_nested_values_share_their_bytes_only_if_they_are_equal() -> None:
    draw = np.random.default_rng(0)

    def value(depth: int) -> Any:
        kind = draw.integers(0, 6 if depth else 4)
        if kind < 4:
            return [None, int(draw.integers(0, 2)), float(draw.integers(0, 2)), "ab"[: draw.integers(0, 3)]][kind]
        inner = [value(depth - 1) for _ in range(draw.integers(0, 3))]
        return inner if kind == 4 else dict(zip("xy", inner, strict=False))

    seen: dict[bytes, str] = {}
    for _ in range(4000):
        made = value(3)
        if any(_mixed(one) for one in _lists(made)):
            continue  # no column mixes whole numbers and fractions in a list
        assert seen.setdefault(canonical_bytes(made), repr(made)) == repr(made)
    assert len(seen) > 300


def _lists(value: Any) -> list[list[Any]]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, list) else []) + [found for one in inner for found in _lists(one)]


def _mixed(values: list[Any]) -> bool:
    return len({type(one) for one in _leaves(values) if isinstance(one, (int, float))}) > 1


def _leaves(values: Any) -> list[Any]:
    return [leaf for one in values for leaf in _leaves(one)] if isinstance(values, list) else [values]


@pytest.mark.parametrize(
    ("one", "other"),
    [(True, 1), ([True, False], [True, False]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([1.0, 2.0], [1.0, 2.0])],
)
def test_equal_values_share_their_bytes(one: Any, other: Any) -> None:
    assert one == other
    assert canonical_bytes(one) == canonical_bytes(other)


# ---- digests of rows ----


def zoo_rows() -> datasets.Dataset:
    """Rows of many kinds of columns."""
    return datasets.Dataset.from_dict(
        {
            "row": [0, 1, 2, 3],
            "text": ["a", "", None, "ä"],
            "number": [1, 2, None, -4],
            "share": [0.5, None, 1.0, -2.5],
            "flag": [True, False, None, True],
            "bytes": [b"a", b"", None, b"\xff"],
            "tokens": [[1, 2], [], None, [3]],
            "grid": [[[1, 2], [3, 4]], [[5]], [], None],
            "words": [["a", "b"], ["ab"], [], None],
            "points": [{"x": 1, "y": 2.5}, {"x": None, "y": 0.0}, {"x": 3, "y": None}, {"x": 4, "y": 1.0}],
            "time": [NOON, None, NOON, NOON + datetime.timedelta(seconds=1)],
        }
    )


def wide(rows: datasets.Dataset) -> datasets.Dataset:
    """The same content in other types of the same kind."""
    wider = {"text": "large_string", "number": "int32", "flag": "bool", "bytes": "large_binary"}
    for name, dtype in wider.items():
        rows = rows.cast_column(name, datasets.Value(dtype))
    return rows.cast_column("tokens", datasets.LargeList(datasets.Value("int16")))


STORED: dict[str, Callable[[datasets.Dataset, Path], datasets.Dataset]] = {
    "on disk": lambda rows, folder: rows.save_to_disk(folder / "rows") or datasets.load_from_disk(folder / "rows"),
    "in parquet": lambda rows, folder: datasets.Dataset.from_parquet(
        str(rows.to_parquet(folder / "rows.parquet") and folder / "rows.parquet"), cache_dir=str(folder)
    ),
    "selected": lambda rows, folder: datasets.concatenate_datasets([rows, rows]).select([4, 1, 6, 3]),
    "in pieces": lambda rows, folder: datasets.concatenate_datasets([rows.select([0]), rows.select([1, 2, 3])]),
    "other order of columns": lambda rows, folder: rows.select_columns(rows.column_names[::-1]),
    "as tensors": lambda rows, folder: rows.with_format("numpy"),
    "behind a transform": lambda rows, folder: rows.with_transform(lambda batch: {"nothing": [0] * 4}),
    "in wider types": lambda rows, folder: wide(rows),
}


@pytest.mark.parametrize("storage", STORED)
def test_storage_has_no_say(storage: str, tmp_path: Path) -> None:
    rows = zoo_rows()
    stored = STORED[storage](rows, tmp_path)
    assert row_digests(stored, rows.column_names, KEY) == row_digests(rows, rows.column_names, KEY)


def test_digest_is_an_hmac_of_the_canonical_bytes() -> None:
    rows = datasets.Dataset.from_dict({"b": [7, 8], "a": ["x", "y"]})
    wanted = [hmac.new(KEY, canonical_bytes(row), hashlib.sha256).digest() for row in (["x", 7], ["y", 8])]
    assert row_digests(rows, ["b", "a"], KEY) == wanted


def test_every_column_counts_and_rows_beyond_a_batch_keep_their_order() -> None:
    rows = zoo_rows()
    all_columns = row_digests(rows, rows.column_names, KEY)
    assert len(set(all_columns)) == 4
    for name in rows.column_names:
        others = [one for one in rows.column_names if one != name]
        assert not set(row_digests(rows, others, KEY)) & set(all_columns)
    many = datasets.Dataset.from_dict({"row": list(range(2500))})
    assert row_digests(many, ["row"], KEY) == [
        hmac.digest(KEY, canonical_bytes([row]), "sha256") for row in range(2500)
    ]


def test_other_key_gives_other_digests() -> None:
    rows = texts()
    assert not set(row_digests(rows, ["text"], KEY)) & set(row_digests(rows, ["text"], OTHER_KEY))
    assert key_id(KEY) != key_id(OTHER_KEY)


def test_digest_of_all_ignores_order_but_not_rows() -> None:
    made = row_digests(texts(), ["text"], KEY)
    whole = digest_of_all(made, KEY)
    assert whole == digest_of_all(made[::-1], KEY)
    others = [digest_of_all(made[1:], KEY), digest_of_all([*made, made[0]], KEY), digest_of_all(made, OTHER_KEY)]
    assert len({whole, *others}) == 4


# ---- images ----


def by_path(digits: datasets.Dataset, paths: list[Path]) -> datasets.Dataset:
    rows = digits.remove_columns("image").to_dict() | {"image": [str(path) for path in paths]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({name: digits.features[name] for name in rows}))


def test_image_counts_by_its_bytes_wherever_they_are(
    digits: datasets.Dataset, digit_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(datasets.Image, "decode_example", refuse)
    inside = row_digests(digits, ["image"], KEY)
    assert len(set(inside)) == 40
    assert row_digests(by_path(digits, digit_files), ["image"], KEY) == inside
    assert row_digests(digits.cast_column("image", datasets.Image(decode=False)), ["image"], KEY) == inside


@pytest.mark.parametrize("nested", ["list", "large list", "struct"])
def test_images_within_a_list_count_by_their_bytes(nested: str, digit_files: list[Path]) -> None:
    feature, wrap = {
        "list": (datasets.List(datasets.Image()), lambda image: [image, None]),
        "large list": (datasets.LargeList(datasets.Image()), lambda image: [image]),
        "struct": (
            {"view": datasets.Image(), "side": datasets.Value("string")},
            lambda i: {"view": i, "side": "left"},
        ),
    }[nested]
    features = datasets.Features(images=feature)
    files_ = [wrap(str(path)) for path in digit_files[:4]] + [None]
    held = [wrap({"bytes": path.read_bytes(), "path": "moved.png"}) for path in digit_files[:4]] + [None]
    on_disk, inside = (datasets.Dataset.from_dict({"images": one}, features=features) for one in (files_, held))
    made = row_digests(on_disk, ["images"], KEY)
    assert made == row_digests(inside, ["images"], KEY)
    assert len(set(made)) == 5


def test_broken_image_has_a_digest_and_a_missing_one_is_told_without_its_name(
    digits: datasets.Dataset, digit_files: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image at all")
    rows = by_path(digits, [broken, *digit_files[1:]])
    write_digests(rows.select([0, 4]), tmp_path / "digests", KEY)
    assert forgotten(rows, tmp_path / "digests") == [0, 4]
    gone = by_path(digits, [*digit_files[:7], tmp_path / f"{CANARY}.png", *digit_files[8:]])
    message = "A row names a file that cannot be read. Mend the data set, or remove such rows."
    assert refusal(write_digests, gone, tmp_path / "others", KEY) == message
    assert refusal(forgotten, gone, tmp_path / "digests") == message
    assert not (tmp_path / "others").exists()
    write_digests(gone, tmp_path / "labels", KEY, columns=["row", "label"])  # does not look at images


@pytest.mark.parametrize("path", ["", "/", "nowhere://a.png", "zip://a.png::/nowhere.zip", "nosuch/file.png"])
def test_image_that_is_nowhere_is_refused(path: str) -> None:
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": None, "path": path}]}, features=datasets.Features(image=datasets.Image())
    )
    assert "names a file that cannot be read" in refusal(row_digests, rows, ["image"], KEY)


# ---- files of digests ----


def test_rows_are_found_again_wherever_they_moved(tmp_path: Path) -> None:
    rows = texts()
    write_digests(rows.select([30, 4, 17]), tmp_path / "digests", KEY)
    assert forgotten(rows, tmp_path / "digests") == [4, 17, 30]
    shuffled = rows.shuffle(seed=1)
    wanted = [row for row in shuffled["row"] if row in (4, 17, 30)]
    assert forgotten(shuffled, tmp_path / "digests") == wanted
    assert forgotten(rows.select_columns(rows.column_names[::-1]), str(tmp_path / "digests")) == [4, 17, 30]


def test_images_are_found_again(digits: datasets.Dataset, digit_files: list[Path], tmp_path: Path) -> None:
    write_digests(digits.select([8, 5]), tmp_path / "digests", KEY)
    assert forgotten(by_path(digits, digit_files), tmp_path / "digests") == [5, 8]


@pytest.mark.parametrize("columns", [["text"], ["user", "text"], ["text", "user", "text"], "text"], ids=str)
def test_some_columns_are_enough(columns: Any, tmp_path: Path) -> None:
    """Rows keep their digest where another column was renumbered."""
    write_digests(texts().select([3, 9]), tmp_path / "digests", KEY, columns=columns)
    changed = texts().remove_columns("row").add_column("row", list(range(100, 140)))
    assert forgotten(changed, tmp_path / "digests") == [103, 109]


def test_rows_with_equal_digests_are_all_forgotten(tmp_path: Path) -> None:
    write_digests(texts().select([0, 3]), tmp_path / "digests", KEY, columns=["user"])
    assert forgotten(texts(), tmp_path / "digests") == [row["row"] for row in texts() if row["user"] == "u-07"]


def test_missing_rows_are_counted_and_can_be_accepted(tmp_path: Path) -> None:
    write_digests(texts().select([3, 9, 20]), tmp_path / "digests", KEY)
    fewer = texts().select(range(10))
    message = refusal(forgotten, fewer, tmp_path / "digests")
    assert message.startswith("1 of 3 digests in ") and "Pass `allow_missing=True` to forget the others" in message
    assert forgotten(fewer, tmp_path / "digests", allow_missing=True) == [3, 9]
    none = texts().select([0, 1])
    assert "`digests` matches none of the 2 rows" in refusal(forgotten, none, tmp_path / "digests", allow_missing=True)


def test_columns_of_the_file_must_be_there(tmp_path: Path) -> None:
    write_digests(texts().select([3]), tmp_path / "digests", KEY)
    message = refusal(forgotten, texts().remove_columns("user"), tmp_path / "digests")
    assert message.startswith("The data set has no column 'user'; its columns are ['row', 'number',")


def test_other_key_is_told_rather_than_that_no_row_matches(tmp_path: Path) -> None:
    write_digests(texts().select([3]), tmp_path / "digests", KEY)
    message = refusal(forgotten, texts(), tmp_path / "digests", digest_key=OTHER_KEY)
    assert (
        f"were made with another key (its id is {key_id(KEY)}, that of `digest_key` is {key_id(OTHER_KEY)})" in message
    )
    assert KEY.decode() not in message and OTHER_KEY.decode() not in message


def test_default_key_serves_where_none_is_given(tmp_path: Path) -> None:
    write_digests(texts().select([3]), tmp_path / "digests")
    assert forgotten(texts(), tmp_path / "digests", digest_key=None) == [3]
    key_file = tmp_path / "hf_home" / "mixunlearn" / "digest.key"
    assert forgotten(texts(), tmp_path / "digests", digest_key=key_file) == [3]
    assert forgotten(texts(), tmp_path / "digests", digest_key=str(key_file)) == [3]
    assert load_key(key_file).decode() not in (tmp_path / "digests").read_text()


DAMAGE: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "cut within a digest": (lambda text: text[:-20], "cannot be read as a file of row digests"),
    "cut after a digest": (lambda text: text[: -len("0" * 64 + "\n")], "cannot be read as a file of row digests"),
    "cut within the header": (lambda text: text[:30], "cannot be read as a file of row digests"),
    "header only, cut": (lambda text: text.splitlines()[0], "cannot be read as a file of row digests"),
    "a line twice": (lambda text: text + text.splitlines()[-1] + "\n", "cannot be read as a file of row digests"),
    "an empty line": (lambda text: text + "\n", "cannot be read as a file of row digests"),
    "empty": (lambda text: "", "cannot be read as a file of row digests"),
    "bytes": (lambda text: b"\x89PNG\r\n\xff\xfe", "cannot be read as a file of row digests"),
    "no digests": (lambda text: text.replace("row digests 1", "poems"), "cannot be read as a file of row digests"),
    "another hash": (lambda text: text.replace("sha256", "md5"), "cannot be read as a file of row digests"),
    "a list": (lambda text: json.dumps([CANARY]), "cannot be read as a file of row digests"),
    "a number": (lambda text: "7", "cannot be read as a file of row digests"),
    "rows as they are": (lambda text: f'{{"text": "{CANARY}"}}\n', "cannot be read as a file of row digests"),
    "other letters": (lambda text: text.replace("\n", "\nzz", 2), "cannot be read as a file of row digests"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_refused_whole(damage: str, tmp_path: Path) -> None:
    """A file that was cut would forget fewer rows than were asked for, and nobody would notice."""
    path = tmp_path / "digests"
    write_digests(texts().select([3, 9, 20]), path, KEY)
    change, message = DAMAGE[damage]
    changed = change(path.read_text())
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    told = refusal(forgotten, texts(), path)
    assert message in told and str(path) in told


def test_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        assert "cannot be read as a file of row digests" in refusal(forgotten, texts(), path)


def test_file_of_no_rows_asks_for_nothing(tmp_path: Path) -> None:
    write_digests(texts().select([]), tmp_path / "digests", KEY)
    assert "holds no digest: there is nothing to forget" in refusal(forgotten, texts(), tmp_path / "digests")


def test_file_holds_digests_and_names_of_columns_only(tmp_path: Path) -> None:
    rows = texts().to_dict() | {"text": [f"{CANARY} {row}" for row in range(40)]}
    write_digests(datasets.Dataset.from_dict(rows), tmp_path / "digests", KEY)
    header, *lines = (tmp_path / "digests").read_text().splitlines()
    assert json.loads(header)["columns"] == sorted(rows)
    assert len(lines) == 40 and all(len(line) == 64 and int(line, 16) >= 0 for line in lines)
    assert CANARY not in header


def test_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    write_digests(texts().select([3]), tmp_path / "digests", KEY)
    before = (tmp_path / "digests").read_bytes()
    with pytest.raises(OutputExistsError):
        write_digests(texts(), tmp_path / "digests", KEY)
    assert (tmp_path / "digests").read_bytes() == before


def test_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        write_digests(texts(), tmp_path / "digests", KEY)
    assert list(tmp_path.iterdir()) == []


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "column that is not there": (texts, {"columns": ["usr"]}, r"no column 'usr'; its columns are ['row', 'user',"),
    "no columns": (texts, {"columns": []}, "`columns` is empty"),
    "several splits": (lambda: datasets.DatasetDict(train=texts()), {}, "got DatasetDict. Pass one split"),
    "a stream": (lambda: texts().to_iterable_dataset(), {}, "Expected a `datasets.Dataset`, got IterableDataset"),
    "short key": (texts, {"key": b"15 bytes, short"}, "has 15 bytes. It needs 16 or more, at random"),
    "key file that is not there": (texts, {"key": Path("/nowhere/key")}, "there is no such file"),
    "key file that is a folder": (texts, {"key": Path("/")}, "there is no such file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_digests_of_wrong_input_are_refused_and_not_begun(name: str, tmp_path: Path) -> None:
    build, options, message = WRONG[name]
    told = refusal(write_digests, build(), tmp_path / "digests", **{"key": KEY, **options})
    assert message in told
    assert list(tmp_path.iterdir()) == []


def test_key_given_as_text_does_not_end_in_a_log() -> None:
    """Text names a file; who passes the key itself by mistake must not read it in the refusal."""
    assert "A key itself is passed as bytes" in refusal(load_key, f"{CANARY}-and-more-of-a-key")


def test_key_file_may_end_with_a_line_break_and_must_not_be_short(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert load_key(tmp_path / "key") == load_key(KEY) == KEY
    (tmp_path / "short").write_bytes(b"short\n")
    assert "short', has 5 bytes" in refusal(load_key, tmp_path / "short")


def test_order_of_batches_is_that_of_rows_where_images_shrink_them(
    digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = digits.select(list(range(40)) * 4)
    one_by_one = [row_digests(many.select([position]), ["row", "image"], KEY)[0] for position in (0, 99, 100, 159)]
    made = digests.row_digests(many, ["image", "row"], KEY)
    assert [made[position] for position in (0, 99, 100, 159)] == one_by_one

"""Splits with their record: what is kept of a request, and what never is."""

import json
import pickle
import re
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
from huggingface_hub import HfApi
from texts import TOPICS, texts

from mixunlearn_hf.data import parts
from mixunlearn_hf.data.digests import key_id, load_key, write_digests
from mixunlearn_hf.data.parts import ForgetRetainSplits, move_to_forget
from mixunlearn_hf.data.record import RECORD_NAME, SplitRecord
from mixunlearn_hf.data.splits import split_forget_retain
from mixunlearn_hf.errors import DataError, SplitError, UnlearningError

CANARY = "canary-5d1f"
KEY = b"a key for tests, 27 bytes.."


def numbers(part: datasets.Dataset) -> list[int]:
    return list(part.with_format(None)["row"])


def saved(splits: ForgetRetainSplits, folder: Path) -> dict[str, Any]:
    splits.save_to_disk(folder)
    return json.loads((folder / RECORD_NAME).read_text())


# ---- what the record holds ----


def test_record_counts_rows_of_each_part_and_class() -> None:
    splits = split_forget_retain(texts(), column="user", values=["u-07", "u-60"], holdout=0.25, seed=3)
    record = splits.record
    assert record.rows == {name: len(part) for name, part in splits.items()} and sum(record.rows.values()) == 40
    for name, part in splits.items():
        assert record.rows_per_class[name] == Counter(TOPICS[topic] for topic in part["topic"])
    assert (record.seed, record.label_column, record.digests, record.digest_key) == (3, None, {}, None)


def test_record_counts_rows_without_a_label_and_classes_without_a_name() -> None:
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2, 3], "label": [7, None, 7, -1]})
    assert split_forget_retain(rows, indices=[0, 1]).record.rows_per_class == {
        "forget": {"7": 1, "none": 1},
        "retain": {"7": 1, "none": 1},
    }


@pytest.mark.parametrize(
    "labels", [["a", "b", "a"], [[0, 1], [1], []], [0.5, 1.5, 0.1]], ids=["text", "many", "float"]
)
def test_labels_that_are_no_classes_are_not_counted_and_do_not_hinder(labels: list[Any]) -> None:
    """Several labels a row, or measurements: other selectors need none."""
    rows = datasets.Dataset.from_dict({"row": [0, 1, 2], "labels": labels})
    splits = split_forget_retain(rows, indices=[1])
    assert splits.record.rows_per_class == {}
    assert numbers(move_to_forget(splits, [0])["forget"]) == [1, 0]


def test_label_column_that_other_splits_lack_is_counted_where_it_is() -> None:
    train = texts().add_column("fine", [row % 2 for row in range(40)])
    splits = split_forget_retain(
        datasets.DatasetDict(train=train, test=texts()), indices=[0, 1, 2], label_column="fine"
    )
    assert splits.record.rows_per_class == {"forget": {"0": 2, "1": 1}, "retain": {"0": 18, "1": 19}}
    assert splits.record.label_column == "fine"


@pytest.mark.parametrize("labelled", [True, False])
def test_label_column_that_is_not_there_is_refused_whoever_needs_it(labelled: bool) -> None:
    rows = texts() if labelled else texts().remove_columns("topic")
    with pytest.raises(DataError, match="no column 'kind'; its columns are"):
        split_forget_retain(rows, indices=[0], label_column="kind")


def planted(folder: Path) -> datasets.Dataset:
    """Texts, users, file names and pictures that all hold the canary."""
    picture = folder / f"{CANARY}.png"
    picture.write_bytes(CANARY.encode())
    rows = texts().to_dict()
    rows["user"] = [f"{CANARY} {user}" for user in rows["user"]]
    rows["text"] = [f"{text} {CANARY}" for text in rows["text"]]
    features = texts().features
    return datasets.Dataset.from_dict(
        rows | {"image": [str(picture)] * 40}, features=datasets.Features(**features, image=datasets.Image())
    )


def requests(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        "values": {"column": "user", "values": [f"{CANARY} u-07"]},
        "long numbers": {"column": "number", "values": [7, "60"]},
        "phrases": {"contains": [f"ran. {CANARY}", f"Ferrow. {CANARY}"], "text_column": "text", "allow_missing": True},
        "regex": {"contains": re.compile(f"{CANARY}.*|Dunmere"), "text_column": "user", "indices": [3, 1]},
        "function": {"where": lambda row: row["text"].endswith(f"Ferrow. {CANARY}")},
        "digests": {"digests": folder / f"{CANARY}.digests", "digest_key": KEY},
        "classes of text": {"classes": [f"{CANARY} u-07"], "label_column": "user"},
        "all": {"classes": "sport", "fraction": 0.5, "holdout": 0.2, "column": "user", "values": [f"{CANARY} u-03"]},
    }


@pytest.mark.parametrize("name", requests(Path()))
def test_record_holds_nothing_that_a_row_holds(name: str, tmp_path: Path) -> None:
    """It can be shown to anyone."""
    rows = planted(tmp_path)
    write_digests(rows.select([3, 9]), tmp_path / f"{CANARY}.digests", KEY)
    splits = split_forget_retain(rows, **requests(tmp_path)[name])
    splits.digest(KEY)
    record = splits.record
    for shown in (record.to_json(), repr(record), repr(splits), str(record.to_dict())):
        assert CANARY not in shown
        assert KEY.decode() not in shown and str(tmp_path) not in shown
    assert json.loads(record.to_json()) == record.to_dict()
    asked = [set(one) - {"selector", "rows"} for one in record.selectors]
    names = {"column", "columns", "text_column", "key", "per_class", "fraction", "classes"}
    for one, keys in zip(record.selectors, asked, strict=True):
        assert all(isinstance(one[key], int) for key in keys - names)  # how many, not which


def test_record_of_numpy_settings_is_json() -> None:
    rows = datasets.Dataset.from_dict({"row": list(range(8)), "label": [5, 7] * 4})
    splits = split_forget_retain(rows, classes=np.array([7]), fraction=np.float32(0.5), seed=np.int64(3))
    assert json.loads(splits.record.to_json()) == splits.record.to_dict()
    assert splits.record.selectors == [
        {"selector": "classes", "classes": [7], "rows": 4},
        {"selector": "fraction", "fraction": 0.5, "per_class": True, "rows": 2},
    ]


def test_record_tells_kinds_and_counts() -> None:
    splits = split_forget_retain(texts(), column="user", values=["u-07", "u-07", "u-99"], allow_missing=True)
    assert splits.record.selectors == [{"selector": "column", "column": "user", "values": 2, "rows": 5}]
    splits = split_forget_retain(texts(), contains=["Fog", "Snow"], text_column="text", where=lambda row: True)
    assert splits.record.selectors == [
        {"selector": "contains", "text_column": "text", "phrases": 2, "rows": 2},
        {"selector": "where", "rows": 40},
    ]
    splits = split_forget_retain(texts(), mask_column="spoken", classes=["sport", 1, 2])
    assert splits.record.selectors[0] == {"selector": "classes", "classes": ["sport", "sport", "weather"], "rows": 20}
    assert splits.record.selectors[1] == {"selector": "mask_column", "column": "spoken", "rows": 7}


# ---- digests of parts ----


def test_digests_know_rows_and_not_their_order() -> None:
    rows = texts()
    splits, shuffled = (split_forget_retain(one, classes="sport") for one in (rows, rows.shuffle(seed=1)))
    assert splits.digest(KEY).digests == shuffled.digest(KEY).digests
    assert splits.record.digests.keys() == {"forget", "retain"} and splits.record.digest_key == key_id(KEY)
    others = split_forget_retain(rows, classes="weather").digest(KEY).digests
    assert not set(others.values()) & set(splits.record.digests.values())
    before = splits.record.digests
    assert not set(splits.digest(KEY[::-1]).digests.values()) & set(before.values())


def test_digests_outlive_saving(digits: datasets.Dataset, digit_files: list[Path], tmp_path: Path) -> None:
    """Saving takes images in that were files before."""
    rows = digits.remove_columns("image").to_dict() | {"image": [str(path) for path in digit_files]}
    features = datasets.Features({name: digits.features[name] for name in rows})
    splits = split_forget_retain(datasets.Dataset.from_dict(rows, features=features), classes="three")
    before = splits.digest(KEY).digests
    splits.save_to_disk(tmp_path / "splits")
    assert ForgetRetainSplits.load_from_disk(tmp_path / "splits").digest(KEY).digests == before


# ---- saving and loading ----


def test_saved_splits_come_back_with_their_record(tmp_path: Path) -> None:
    splits = split_forget_retain(texts(), classes="sport", fraction=0.5, holdout=0.1, seed=4)
    splits.save_to_disk(tmp_path / "splits")
    loaded = ForgetRetainSplits.load_from_disk(str(tmp_path / "splits"))
    assert isinstance(loaded, ForgetRetainSplits)
    assert loaded.record == splits.record == SplitRecord.load(tmp_path / "splits")
    assert loaded.record.digests.keys() == splits.keys() and loaded.record.digest_key == key_id(load_key())
    assert {name: part.to_list() for name, part in loaded.items()} == {
        name: part.to_list() for name, part in splits.items()
    }


def test_plain_datasets_load_what_was_saved(tmp_path: Path) -> None:
    split_forget_retain(texts(), classes="sport").save_to_disk(tmp_path / "splits")
    plain = datasets.load_from_disk(tmp_path / "splits")
    assert type(plain) is datasets.DatasetDict and plain.keys() == {"forget", "retain"}
    assert plain["forget"].features["topic"].names == TOPICS


def test_digests_of_a_chosen_key_are_kept_when_saving(tmp_path: Path) -> None:
    splits = split_forget_retain(texts(), classes="sport")
    splits.digest(KEY)
    assert saved(splits, tmp_path / "splits")["digest_key"] == key_id(KEY)
    assert not (tmp_path / "hf_home").exists()


def test_splits_that_cannot_be_digested_leave_nothing_half_saved(digits: datasets.Dataset, tmp_path: Path) -> None:
    gone = {"image": [{"bytes": None, "path": f"/nowhere/{CANARY}.png"}] * 40, "row": list(range(40))}
    rows = datasets.Dataset.from_dict(
        gone, features=datasets.Features(image=datasets.Image(), row=digits.features["row"])
    )
    with pytest.raises(SplitError, match="names a file that cannot be read") as caught:
        split_forget_retain(rows, indices=[0]).save_to_disk(tmp_path / "splits")
    assert not (tmp_path / "splits").exists()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_failure_while_the_record_is_written_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = split_forget_retain(texts(), classes="sport")
    splits.digest(KEY)

    def fail(*args: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("mixunlearn_hf.files.os.replace", fail)
    monkeypatch.setattr(datasets.DatasetDict, "save_to_disk", lambda self, path: Path(path).mkdir())
    with pytest.raises(OSError, match="disk is full"):
        splits.save_to_disk(tmp_path / "splits")
    assert list((tmp_path / "splits").iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "7", '{"rows": {}}', '{"selectors": [], "rows": {}, "x": 1}']
)
def test_damaged_record_is_refused(content: str | None, tmp_path: Path) -> None:
    split_forget_retain(texts(), classes="sport").save_to_disk(tmp_path / "splits")
    (tmp_path / "splits" / RECORD_NAME).unlink()
    if content is not None:
        (tmp_path / "splits" / RECORD_NAME).write_text(content)
    with pytest.raises(SplitError, match="is missing or no record of a split"):
        ForgetRetainSplits.load_from_disk(tmp_path / "splits")


def test_splits_can_be_pickled_and_mapped() -> None:
    splits = split_forget_retain(texts(), classes="sport")
    assert pickle.loads(pickle.dumps(splits)).record == splits.record
    assert splits.select_columns(["text"]).keys() == splits.keys()


# ---- the Hub ----


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What would have gone to the Hub, in order."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def push(self: Any, repo_id: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(("push", {"repo_id": repo_id, "args": args, **kwargs}))
        return SimpleNamespace(pr_revision="refs/pr/3" if kwargs.get("create_pr") else None)

    monkeypatch.setattr(datasets.DatasetDict, "push_to_hub", push)
    monkeypatch.setattr(HfApi, "upload_file", lambda self, **kwargs: sent.append(("upload", kwargs)))
    return sent


@pytest.mark.parametrize(
    ("options", "revision"),
    [({}, None), ({"revision": "v2", "private": True}, "v2"), ({"create_pr": True}, "refs/pr/3")],
    ids=["main", "a branch", "a pull request"],
)
def test_record_is_pushed_where_the_splits_are(
    options: dict[str, Any], revision: str | None, hub: list[Any], tmp_path: Path
) -> None:
    splits = split_forget_retain(planted(tmp_path), classes="sport")
    splits.push_to_hub("somebody/rows", **options)
    (pushed, given), (uploaded, file) = hub
    assert (pushed, uploaded) == ("push", "upload")
    assert given == {"repo_id": "somebody/rows", "args": (), **options}
    assert (file["repo_id"], file["repo_type"], file["path_in_repo"]) == ("somebody/rows", "dataset", RECORD_NAME)
    assert file["revision"] == revision
    assert json.loads(file["path_or_fileobj"]) == splits.record.to_dict()
    assert splits.record.digests and CANARY.encode() not in file["path_or_fileobj"]


def test_nothing_is_pushed_where_digests_fail(hub: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise SplitError("no key")

    monkeypatch.setattr(parts, "load_key", fail)
    with pytest.raises(SplitError):
        split_forget_retain(texts(), classes="sport").push_to_hub("somebody/rows")
    assert hub == []


# ---- moving rows ----


def test_moved_rows_are_the_last_to_be_forgotten_and_order_survives() -> None:
    splits = split_forget_retain(texts(), indices=[5, 2], holdout=0.25, seed=1)
    retain = numbers(splits["retain"])
    moved = move_to_forget(splits, [7, 0, 7], reason="related")
    assert numbers(moved["forget"]) == numbers(splits["forget"]) + [retain[0], retain[7]]
    assert numbers(moved["retain"]) == [row for row in retain if row not in (retain[0], retain[7])]
    assert numbers(moved["holdout"]) == numbers(splits["holdout"])
    assert moved["forget"].features == splits["forget"].features


def test_record_of_moved_rows_follows_that_of_the_request() -> None:
    splits = split_forget_retain(texts(), classes="sport", seed=9)
    splits.digest(KEY)
    before = splits.record
    moved = move_to_forget(splits, [0, 1, 2], reason="related")
    assert moved.record.selectors == [*before.selectors, {"selector": "related", "rows": 3}]
    assert moved.record.rows == {"forget": 13, "retain": 27} and moved.record.seed == 9
    assert moved.record.rows_per_class["forget"] == {"sport": 10, "business": 2, "weather": 1}
    assert moved.record.digests == {}  # those of the parts before would be wrong
    assert splits.record is before and len(splits["forget"]) == 10


def test_rows_of_plain_splits_can_be_moved() -> None:
    plain = datasets.DatasetDict(forget=texts().select([0]), retain=texts().select(range(1, 40)))
    assert move_to_forget(plain, np.array([1])).record.selectors == [{"selector": "moved", "rows": 1}]
    assert numbers(move_to_forget(dict(plain), iter([1]))["forget"]) == [0, 2]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([], "is empty"),
        ([38], "such as 38: it has 38 rows, numbered 0 to 37"),
        ([-1], "lie outside"),
        ([True] * 38, "whole numbers"),
        (range(38), "All rows of the retain set would be moved"),
    ],
    ids=["none", "outside", "negative", "a mask", "all"],
)
def test_positions_that_cannot_be_moved_are_refused(positions: Any, message: str) -> None:
    with pytest.raises(SplitError, match=message) as caught:
        move_to_forget(split_forget_retain(texts(), indices=[0, 1]), positions)
    assert isinstance(caught.value, UnlearningError)


def test_numbers_that_could_be_ids_are_not_in_the_record() -> None:
    """A column of users that was named as the label column by mistake."""
    rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "user": [77_123, 77_456, 77_123]})
    record = split_forget_retain(rows, classes=[77_123], label_column="user").record
    assert record.rows_per_class == {} and "77" not in record.to_json()


def test_a_key_that_nothing_uses_is_refused() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    with pytest.raises(SplitError, match="there are no `digests`"):
        split_forget_retain(rows, classes=[0], digest_key=b"k" * 32)

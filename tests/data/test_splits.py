from typing import Any

import datasets
import numpy as np
import pytest

from mixunlearn_hf.data.splits import split_forget_retain
from mixunlearn_hf.errors import DataError, SplitError, UnlearningError

CANARY = "canary-5d1f"
NAMES = ["cat", "dog", "owl"]


def table(labels: list[Any] | None = None, feature: Any = None, column: str = "label") -> datasets.Dataset:
    """Rows with an `id`, a text that holds the canary, and labels: 0, 1, 2, 0, 1 ... of `NAMES` by default."""
    if labels is None:
        labels, feature = [i % 3 for i in range(12)], datasets.ClassLabel(names=NAMES)
    columns = {"id": list(range(len(labels))), "text": [f"{CANARY} {i}" for i in range(len(labels))], column: labels}
    features = datasets.Features(id=datasets.Value("int64"), text=datasets.Value("string"))
    features[column] = datasets.Value("int64") if feature is None else feature
    return datasets.Dataset.from_dict(columns, features=features)


def splits_of(*names: str) -> datasets.DatasetDict:
    """Splits with ids of their own: 0 to 11 in the first, 100 to 111 in the second, and so on."""
    parts = {name: table().to_dict() for name in names}
    for number, part in enumerate(parts.values()):
        part["id"] = [100 * number + row for row in part["id"]]
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(part, features=table().features) for name, part in parts.items()}
    )


def ids(rows: datasets.Dataset) -> list[int]:
    return list(rows.with_format(None)["id"])


def forgotten(rows: datasets.Dataset, **request: Any) -> list[int]:
    return ids(split_forget_retain(rows, **request)["forget"])


# ---- classes ----


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("dog", [1, 4, 7, 10]),
        (1, [1, 4, 7, 10]),
        (np.int64(1), [1, 4, 7, 10]),
        (["dog"], [1, 4, 7, 10]),
        (["cat", 2], [0, 2, 3, 5, 6, 8, 9, 11]),
        (("cat", "cat", 0), [0, 3, 6, 9]),
    ],
)
def test_classes_by_name_and_by_id_are_the_same_rows(classes: Any, expected: list[int]) -> None:
    assert forgotten(table(), classes=classes) == expected


def test_classes_of_a_column_of_words() -> None:
    rows = table(["cat", "dog", "cat"], datasets.Value("string"))
    assert forgotten(rows, classes="cat") == forgotten(rows, classes=["cat"]) == [0, 2]


def test_classes_of_a_column_of_large_strings() -> None:
    """What pandas 3 and polars make of text."""
    rows = table(["cat", "dog", "cat"], datasets.Value("large_string"))
    assert forgotten(rows, classes=["cat"]) == [0, 2]


def test_classes_of_a_column_of_plain_numbers() -> None:
    assert forgotten(table([5, 7, 5, 9]), classes=[5, 9]) == [0, 2, 3]


def test_a_word_that_is_a_class_name_is_not_read_letter_by_letter() -> None:
    rows = table([0, 1, 2], datasets.ClassLabel(names=["a", "b", "ab"]))
    assert forgotten(rows, classes="ab") == [2]


@pytest.mark.parametrize("column", ["label", "labels", "label_ids"])
def test_label_column_with_a_usual_name_is_found(column: str) -> None:
    assert forgotten(table([0, 1, 1], column=column), classes=1) == [1, 2]


def test_only_class_label_is_found_whatever_its_name() -> None:
    assert forgotten(table([0, 1, 1], datasets.ClassLabel(names=["cat", "dog"]), "kind"), classes="dog") == [1, 2]


def test_label_column_that_was_asked_for_wins_over_the_usual_name() -> None:
    rows = table([0, 0, 1]).add_column("fine", [1, 2, 2])
    assert forgotten(rows, classes=[2], label_column="fine") == [1, 2]


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        ([0, None, 1, None], datasets.Value("int64")),
        ([0, -1, 1, -1], datasets.Value("int64")),
        ([0, -1, 1, None], datasets.ClassLabel(names=["cat", "dog"])),
        (["0", None, "1", None], datasets.Value("string")),
    ],
    ids=["None", "-1", "ClassLabel", "words"],
)
def test_rows_without_a_label_belong_to_no_class(labels: list[Any], feature: Any) -> None:
    wanted = "0" if feature.dtype == "string" else 0
    splits = split_forget_retain(table(labels, feature), classes=[wanted])
    assert (ids(splits["forget"]), ids(splits["retain"])) == ([0], [1, 2, 3])


def test_one_row_can_be_forgotten() -> None:
    splits = split_forget_retain(table([0, 1, 0]), classes=[1])
    assert (ids(splits["forget"]), ids(splits["retain"])) == ([1], [0, 2])


def test_more_rows_can_be_forgotten_than_stay() -> None:
    splits = split_forget_retain(table([0, 1, 1, 1]), classes=[1])
    assert (ids(splits["forget"]), ids(splits["retain"])) == ([1, 2, 3], [0])


# ---- fraction ----


@pytest.mark.parametrize(("fraction", "counts"), [(0.4, {0: 4, 1: 12}), (0.26, {0: 3, 1: 8}), (0.95, {0: 10, 1: 29})])
def test_fraction_is_taken_of_each_class_and_rounded_to_the_nearest_row(
    fraction: float, counts: dict[int, int]
) -> None:
    forget = split_forget_retain(table([0] * 10 + [1] * 30), fraction=fraction)["forget"]
    assert {label: list(forget["label"]).count(label) for label in (0, 1)} == counts


def test_fraction_within_classes_leaves_the_others_alone() -> None:
    forget = split_forget_retain(table([0] * 10 + [1] * 20 + [2] * 30), classes=[1, 2], fraction=0.4)["forget"]
    assert [list(forget["label"]).count(label) for label in (0, 1, 2)] == [0, 8, 12]


def test_fraction_of_rows_without_labels_is_taken_of_all() -> None:
    splits = split_forget_retain(table().remove_columns("label"), fraction=0.25)
    assert (len(splits["forget"]), len(splits["retain"])) == (3, 9)


def test_fraction_reaches_rows_that_lack_their_label() -> None:
    forget = split_forget_retain(table([0] * 10 + [None] * 10), fraction=0.3)["forget"]
    assert (list(forget["label"]).count(0), list(forget["label"]).count(None)) == (3, 3)


@pytest.mark.parametrize("request_", [{}, {"classes": ["dog"]}], ids=["all", "a class"])
def test_small_fraction_forgets_one_row_rather_than_none(request_: dict[str, Any]) -> None:
    forget = split_forget_retain(table(), fraction=0.001, **request_)["forget"]
    assert len(forget) == 1
    assert not request_ or forget["label"][0] == 1


def test_fraction_does_not_take_the_first_rows() -> None:
    assert forgotten(table([0] * 50), fraction=0.5) != list(range(25))


@pytest.mark.parametrize(("per_class", "zeros"), [(None, {8}), (True, {8}), (False, set(range(17)))])
def test_per_class_decides_whether_each_class_gives_its_share(per_class: bool | None, zeros: set[int]) -> None:
    counts = set()
    for seed in range(5):
        forget = split_forget_retain(table([0] * 20 + [1] * 20), fraction=0.4, per_class=per_class, seed=seed)[
            "forget"
        ]
        assert len(forget) == 16
        counts.add(list(forget["label"]).count(0))
    assert counts <= zeros and (per_class is not False or len(counts) > 1)


def test_fraction_is_taken_of_each_class_of_words() -> None:
    rows = table(["cat"] * 10 + ["dog"] * 20 + [None] * 10, datasets.Value("string"))
    forget = list(split_forget_retain(rows, fraction=0.3)["forget"]["label"])
    assert [forget.count(label) for label in ("cat", "dog", None)] == [3, 6, 3]


@pytest.mark.parametrize("request_", [{"where": lambda row: row["id"] > 3}, {"indices": range(4, 12)}])
def test_fraction_is_taken_of_what_the_others_match(request_: dict[str, Any]) -> None:
    splits = split_forget_retain(table(), fraction=0.5, per_class=False, **request_)
    assert len(splits["forget"]) == 4 and min(ids(splits["forget"])) > 3
    assert [one["rows"] for one in splits.record.selectors] == [8, 4]


# ---- other splits ----


def test_other_splits_stay_as_they_are() -> None:
    data = splits_of("validation", "train", "test")
    splits = split_forget_retain(data, classes=["dog"])
    assert list(splits) == ["forget", "retain", "validation", "test"]
    assert ids(splits["forget"]) == [101, 104, 107, 110]
    assert all(splits[name] is data[name] for name in ("validation", "test"))
    assert list(data) == ["validation", "train", "test"]


def test_split_that_the_model_was_trained_on_can_be_named() -> None:
    splits = split_forget_retain(splits_of("train", "dev"), indices=[0], split="dev")
    assert (ids(splits["forget"]), ids(splits["train"])) == ([100], list(range(12)))
    assert list(split_forget_retain(splits_of("forget", "test"), indices=[0], split="forget")) == [
        "forget",
        "retain",
        "test",
    ]


# ---- holdout ----


def test_holdout_can_be_a_data_set() -> None:
    unseen = table().select([3, 4])
    for data, others in ((table(), []), (splits_of("train", "test"), ["test"])):
        splits = split_forget_retain(data, classes=["dog"], holdout=unseen)
        assert splits["holdout"] is unseen
        assert list(splits) == ["forget", "retain", "holdout", *others]
        assert splits.record.rows["holdout"] == 2
        assert len(splits["forget"]) + len(splits["retain"]) == 12


@pytest.mark.parametrize("name", ["test", "holdout"])
def test_holdout_can_be_a_split(name: str) -> None:
    splits = split_forget_retain(splits_of("train", name, "dev"), classes=["dog"], holdout=name)
    assert list(splits) == ["forget", "retain", "holdout", "dev"]
    assert ids(splits["holdout"]) == list(range(100, 112))


def test_share_held_out_of_test_leaves_it_and_train_alone() -> None:
    data = splits_of("train", "test")
    splits = split_forget_retain(data, classes=["dog"], holdout=0.25)
    assert list(splits) == ["forget", "retain", "holdout", "test"]
    assert sorted(ids(splits["holdout"]) + ids(splits["test"])) == ids(data["test"])
    assert sorted(splits["holdout"]["label"]) == [0, 1, 2]  # a quarter of each class
    assert sorted(ids(splits["forget"]) + ids(splits["retain"])) == ids(data["train"])


@pytest.mark.parametrize("request_", [{"classes": ["dog"]}, {"fraction": 0.5}, {"indices": range(6)}])
def test_share_held_out_of_the_data_set_itself_is_in_no_other_part(request_: dict[str, Any]) -> None:
    splits = split_forget_retain(table(), holdout=0.25, **request_)
    assert list(splits) == ["forget", "retain", "holdout"]
    assert len(splits["holdout"]) == 3
    assert sorted(row for part in splits.values() for row in ids(part)) == list(range(12))


def test_holding_out_of_the_training_data_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    split_forget_retain(splits_of("train", "test"), indices=[0], holdout=0.25)
    assert caplog.text == ""
    split_forget_retain(table(), indices=list(range(6)), holdout=0.25)
    assert "unseen only by a model that is trained on the forget and the retain set after this" in caplog.text


def test_indices_mean_positions_of_the_data_set_that_was_given() -> None:
    """Not of what is left once rows are held out."""
    for seed in range(10):
        splits = split_forget_retain(table(), indices=[1, 5, 8, 11], holdout=0.25, seed=seed)
        held = ids(splits["holdout"])
        assert ids(splits["forget"]) == [row for row in (1, 5, 8, 11) if row not in held]
        assert splits.record.selectors[0]["rows"] == len(splits["forget"])


def test_request_for_held_out_rows_alone_is_refused() -> None:
    with pytest.raises(SplitError, match="`indices` matches none of the 9 rows that are not held out"):
        for seed in range(30):
            split_forget_retain(table(), indices=[4], holdout=0.25, seed=seed)


def test_seed_chooses_the_held_out_rows_and_not_those_of_the_request() -> None:
    def held(seed: int, **request: Any) -> list[int]:
        return ids(split_forget_retain(table([0] * 50), holdout=0.3, seed=seed, **request)["holdout"])

    first = held(3, fraction=0.5)
    assert first == held(3, fraction=0.5) == held(3, indices=range(10))
    assert any(held(seed, fraction=0.5) != first for seed in (4, 5))


# ---- the same request, the same rows ----


@pytest.mark.parametrize("request_", [{"fraction": 0.5}, {"fraction": 0.5, "classes": ["cat", "owl"]}])
def test_seed_alone_chooses_the_rows(request_: dict[str, Any]) -> None:
    first = forgotten(table(), seed=3, **request_)
    np.random.seed(99)
    assert forgotten(table(), seed=3, **request_) == first
    assert any(forgotten(table(), seed=seed, **request_) != first for seed in range(4, 8))


@pytest.mark.parametrize("request_", [{"classes": "cat"}, {"fraction": 0.5}, {"classes": [1, 2], "fraction": 0.5}])
def test_equal_requests_have_equal_fingerprints(request_: dict[str, Any]) -> None:
    """What is computed from a split stays in the cache of `datasets`."""
    rows = table()
    first, second = split_forget_retain(rows, **request_), split_forget_retain(rows, **request_)
    other = split_forget_retain(rows, classes=[1])
    for name in ("forget", "retain"):
        assert first[name]._fingerprint == second[name]._fingerprint != other[name]._fingerprint
    assert first["forget"]._fingerprint != first["retain"]._fingerprint


# ---- what survives ----


@pytest.mark.parametrize("request_", [{"classes": ["cat", "owl"]}, {"fraction": 0.5}], ids=["classes", "fraction"])
def test_every_row_is_in_one_part_and_order_survives(request_: dict[str, Any]) -> None:
    rows = table().shuffle(seed=1)
    splits = split_forget_retain(rows, **request_)
    order = {row: place for place, row in enumerate(ids(rows))}
    for part in splits.values():
        assert ids(part) == sorted(ids(part), key=order.__getitem__)
        assert list(part["text"]) == [f"{CANARY} {row}" for row in ids(part)]
    assert sorted(ids(splits["forget"]) + ids(splits["retain"])) == list(range(12))


def test_features_class_names_and_format_survive() -> None:
    rows = table().with_format("numpy")
    splits = split_forget_retain(rows, classes=["dog"])
    assert list(splits) == ["forget", "retain"]
    for part in splits.values():
        assert part.features == rows.features
        assert part.features["label"].names == NAMES
        assert part.format["type"] == "numpy"


def test_transform_is_not_run_to_find_the_labels() -> None:
    def refuse(batch: dict[str, list]) -> dict[str, list]:
        raise AssertionError("ran")

    splits = split_forget_retain(table().with_transform(refuse), classes=["dog"])
    assert ids(splits["forget"]) == [1, 4, 7, 10]
    with pytest.raises(AssertionError, match="ran"):
        splits["forget"][0]


def addresses(rows: datasets.Dataset) -> set[int]:
    """Where the texts of a data set lie in memory."""
    chunks = rows.data.column("text").chunks
    return {buffer.address for chunk in chunks for buffer in chunk.buffers() if buffer is not None}


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1]], ids=["neighbours", "scattered"])
def test_splits_share_the_data_of_the_original(labels: list[int]) -> None:
    """A copy would double the memory of a large data set."""
    rows = table(labels)
    splits = split_forget_retain(rows, classes=[0])
    assert ids(splits["forget"]) == [i for i, label in enumerate(labels) if label == 0]
    for part in splits.values():
        assert addresses(part) and addresses(part) <= addresses(rows)


# ---- refusals ----

REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no splits": (datasets.DatasetDict, {"classes": [0]}, SplitError, r"no split 'train' among \[\]"),
    "a split that is not there": (
        lambda: splits_of("train", "test"),
        {"classes": [0], "split": "dev"},
        SplitError,
        r"no split 'dev' among \['train', 'test'\]. Set `split`",
    ),
    "a split called forget": (
        lambda: splits_of("train", "forget"),
        {"classes": [0]},
        SplitError,
        r"has a split 'forget' already.*Rename it, or pass `dataset\['train'\]`",
    ),
    "a split called holdout": (
        lambda: splits_of("train", "test", "holdout"),
        {"classes": [0], "holdout": "test"},
        SplitError,
        "has a split 'holdout' already",
    ),
    "streams": (
        lambda: datasets.IterableDatasetDict(train=table().to_iterable_dataset()),
        {"classes": [0]},
        SplitError,
        "got IterableDatasetDict: rows of a stream have no position",
    ),
    "a stream": (
        lambda: table().to_iterable_dataset(),
        {"classes": [0]},
        SplitError,
        r"got IterableDataset: .*`Dataset.from_list\(list",
    ),
    "a list": (lambda: [{"text": CANARY, "label": 0}], {"classes": [0]}, SplitError, "got list"),
    "no rows": (lambda: table([]), {"classes": [0]}, SplitError, "no rows: there is nothing to forget"),
    "nothing asked": (table, {}, SplitError, "Say what to forget: `classes=`, `indices=`, .*or several"),
    "no class": (table, {"classes": []}, SplitError, "forget"),
    "a share of no class": (table, {"classes": [], "fraction": 0.5}, SplitError, "forget"),
    "no labels": (
        lambda: table().remove_columns("label"),
        {"classes": [0]},
        SplitError,
        r"needs labels.*\['id', 'text'\].*Set `label_column`",
    ),
    "two candidates": (
        lambda: (
            table()
            .rename_column("label", "a")
            .add_column("b", [0] * 12)
            .cast_column("b", datasets.ClassLabel(names=NAMES))
        ),
        {"classes": ["cat"]},
        SplitError,
        "Set `label_column`",
    ),
    "unknown column": (
        table,
        {"classes": [0], "label_column": "kind"},
        DataError,
        r"no column 'kind'; its columns are \['id', 'text', 'label'\]",
    ),
    "unknown name": (
        table,
        {"classes": ["cow"]},
        SplitError,
        r"No row has the class 'cow'. Classes in 'label': \['cat', 'dog', 'owl'\]",
    ),
    "unknown id": (table, {"classes": [3]}, SplitError, "No row has the class 3"),
    "a class without rows": (
        lambda: table([0, 1, 1], datasets.ClassLabel(names=NAMES)),
        {"classes": ["owl"]},
        SplitError,
        r"No row has the class 'owl'. Classes in 'label': \['cat', 'dog'\]",
    ),
    "no label as a class": (lambda: table([0, None, 1]), {"classes": [-1]}, SplitError, "No row has the class -1"),
    "text for labels": (table, {"classes": ["cat"], "label_column": "text"}, SplitError, "No row has the class 'cat'"),
    "words in large strings": (
        lambda: table(["owl", "cat", "dog"], datasets.Value("large_string")),
        {"classes": ["cow"]},
        SplitError,
        "No row has the class 'cow'",
    ),
    "fraction 0": (table, {"fraction": 0}, SplitError, "strictly between 0 and 1, got 0"),
    "fraction 1": (table, {"fraction": 1.0}, SplitError, "strictly between 0 and 1, got 1.0"),
    "fraction above 1": (table, {"fraction": 40}, SplitError, "got 40"),
    "fraction below 0": (table, {"fraction": -0.4}, SplitError, "got -0.4"),
    "fraction nan": (table, {"fraction": float("nan")}, SplitError, "got nan"),
    "holdout that is no split": (
        lambda: splits_of("train", "test"),
        {"classes": [0], "holdout": "dev"},
        SplitError,
        r"names the split 'dev', and the other splits are \['test'\]",
    ),
    "holdout that was trained on": (
        lambda: splits_of("train", "test"),
        {"classes": [0], "holdout": "train"},
        SplitError,
        r"names the split 'train', and the other splits are \['test'\]",
    ),
    "name of a holdout without splits": (
        table,
        {"classes": [0], "holdout": "test"},
        SplitError,
        r"other splits are \[\]",
    ),
    "share of no test split": (
        lambda: splits_of("train", "dev"),
        {"classes": [0], "holdout": 0.5},
        SplitError,
        r"A share of the split 'test' would be held out, and the other splits are \['dev'\]",
    ),
    "holdout of other columns": (
        table,
        {"classes": [0], "holdout": datasets.Dataset.from_dict({"id": [1], "text": [CANARY]})},
        SplitError,
        "`holdout` lacks the column 'label'",
    ),
    "all held out": (table, {"classes": [0], "holdout": 0.99}, SplitError, r"`holdout=0.99` would take all 12 rows"),
    "holdout 1": (
        table,
        {"classes": [0], "holdout": 1},
        SplitError,
        "`holdout` must.*strictly between 0 and 1, got 1",
    ),
    "holdout true": (table, {"classes": [0], "holdout": True}, SplitError, "a share, got bool"),
    "holdout of rows": (table, {"classes": [0], "holdout": [1, 2]}, SplitError, "a share, got list"),
    "per class without labels": (
        lambda: table().remove_columns("label"),
        {"fraction": 0.5, "per_class": True},
        SplitError,
        r"`per_class` needs labels.*\['id', 'text'\]",
    ),
    "every class": (table, {"classes": NAMES}, SplitError, "all 12 rows. Nothing would be left to retain"),
    "half of one row": (lambda: table([0]), {"fraction": 0.5}, SplitError, "all 1 rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_why_and_shows_no_row(name: str) -> None:
    build, request_, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        split_forget_retain(build(), **request_)
    assert isinstance(caught.value, UnlearningError)
    assert CANARY not in str(caught.value)

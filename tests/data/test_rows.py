import io
import random
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from mixunlearn_hf.data.rows import NO_LABEL, Rows, find_label_column
from mixunlearn_hf.errors import DataError

CANARY = "canary-5d1f"
TEXT_INPUTS = ["input_ids", "attention_mask", "labels"]
IMAGE_INPUTS = ["pixel_values", "labels"]


def tokens(labels: list[Any] | None = None, feature: Any = None, column: str = "label") -> datasets.Dataset:
    """Three rows of token ids with a text beside them that holds the canary."""
    rows = datasets.Dataset.from_dict(
        {"input_ids": [[2, 3], [2, 4], [2, 5]], "text": [f"{CANARY} {i}" for i in range(3)]}
    )
    if labels is None:
        return rows
    return rows.add_column(column, labels, feature=datasets.Value("int64") if feature is None else feature)


def text_rows(dataset: Any, processing_class: Any = None, **options: Any) -> Rows:
    return Rows(dataset, TEXT_INPUTS, "input_ids", processing_class, name="forget_dataset", **options)


def image_rows(dataset: Any, processing_class: Any = None) -> Rows:
    return Rows(dataset, IMAGE_INPUTS, "pixel_values", processing_class, name="forget_dataset")


def pictures(mode: str = "L") -> datasets.Dataset:
    """A black and a white picture, labels 1 and 0."""
    white = 255 if mode == "L" else (255,) * len(mode)
    images = [Image.new(mode, (10, 6)), Image.new(mode, (10, 6), white)]
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    return datasets.Dataset.from_dict({"image": images, "label": [1, 0]}, features=features)


class Items(torch.utils.data.Dataset):
    """A map-style data set of dictionaries."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


# ---- what a row holds ----


def test_columns_the_model_does_not_take_are_dropped() -> None:
    assert text_rows(tokens([0, 2, 1]))[1] == {"input_ids": [2, 4], "labels": 2}


def test_rows_without_labels_bring_none() -> None:
    assert text_rows(tokens())[1] == {"input_ids": [2, 4]}


@pytest.mark.parametrize("column", ["label", "labels", "label_ids"])
def test_label_column_is_renamed_to_labels(column: str) -> None:
    assert text_rows(tokens([0, 2, 1], column=column))[1]["labels"] == 2


def test_only_class_label_is_found_whatever_its_name() -> None:
    rows = tokens([0, 2, 1], datasets.ClassLabel(names=["cat", "dog", "owl"]), "kind")
    assert text_rows(rows)[1]["labels"] == 2
    assert find_label_column(rows.add_column("other", [0, 0, 0], feature=rows.features["kind"])) is None


def test_label_column_that_was_asked_for_wins_over_the_usual_name() -> None:
    rows = text_rows(tokens([0, 2, 1]).add_column("fine", [7, 8, 9]), label_column="fine")
    assert rows[1]["labels"] == 8
    assert rows.labels().tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        ([1, None, 0], datasets.Value("int64")),
        ([1, -1, 0], datasets.Value("int64")),
        ([1, NO_LABEL, 0], datasets.Value("int64")),
        ([1, None, 0], datasets.ClassLabel(names=["cat", "dog"])),
        ([1.0, float("nan"), 0.0], datasets.Value("float64")),
    ],
    ids=["None", "-1", "-100", "ClassLabel", "nan"],
)
@pytest.mark.parametrize("format_", [None, "numpy", "torch"])
def test_missing_labels_become_what_cross_entropy_ignores(labels: list[Any], feature: Any, format_: Any) -> None:
    rows = text_rows(tokens(labels, feature).with_format(format_))
    assert rows.labels().tolist() == [1, NO_LABEL, 0]
    assert [row["labels"] for row in rows.__getitems__([0, 1, 2])] == [1, NO_LABEL, 0]


def test_rows_without_a_label_column_have_no_labels() -> None:
    assert text_rows(tokens()).labels() is None
    assert text_rows(Items([{"input_ids": [2, 3]}])).label_column is None


def test_rows_are_read_in_the_order_asked_for() -> None:
    rows = text_rows(tokens([0, 2, 1]))
    assert [row["input_ids"][1] for row in rows.__getitems__([2, 0, 0])] == [5, 3, 3]
    assert len(rows) == 3
    assert rows[np.int64(2)] == {"input_ids": [2, 5], "labels": 1}


def with_labels_under(name: str) -> datasets.Dataset:
    return tokens([0, 2, 1]).with_transform(lambda batch: {"input_ids": batch["input_ids"], name: batch["label"]})


@pytest.mark.parametrize(
    "dataset",
    [
        lambda: tokens([0, 2, 1]),
        lambda: tokens([0, 2, 1]).with_format("torch"),
        lambda: with_labels_under("label"),
        lambda: with_labels_under("labels"),
        lambda: tokens([0, 2, 1]).with_format("torch", columns=["input_ids"]),
    ],
    ids=["plain", "torch", "transform", "transform that renames them", "format that leaves them out"],
)
def test_no_way_of_reading_loses_the_labels(dataset: Any) -> None:
    """A label-aware request would become a label-agnostic one without a word."""
    rows = text_rows(dataset())
    assert [row["labels"] for row in rows.__getitems__([0, 1, 2])] == rows.labels().tolist() == [0, 2, 1]


def test_labels_made_by_a_transform_are_seen() -> None:
    dataset = tokens([0, 2, 1], column="kind").with_transform(
        lambda batch: {"input_ids": batch["input_ids"], "labels": batch["kind"]}
    )
    assert [row.get("labels") for row in text_rows(dataset).__getitems__([0, 1, 2])] == [0, 2, 1]


def test_map_style_data_set_is_read_as_it_is() -> None:
    rows = text_rows(Items([{"input_ids": [2, 3], "label": 1, "text": CANARY}, {"input_ids": [4], "label": None}]))
    assert rows.__getitems__([1, 0]) == [{"input_ids": [4], "labels": NO_LABEL}, {"input_ids": [2, 3], "labels": 1}]
    assert rows.labels() is None  # not known without reading all rows


def test_pixel_values_are_arrays_and_not_nested_lists() -> None:
    pixels = np.random.rand(2, 3, 4, 4).astype("float32")
    row = image_rows(datasets.Dataset.from_dict({"pixel_values": pixels, "label": [0, None]}))[1]
    assert isinstance(row["pixel_values"], np.ndarray)
    np.testing.assert_array_equal(row["pixel_values"], pixels[1])
    assert row["labels"] == NO_LABEL


# ---- raw text and images ----


def test_raw_text_goes_through_the_tokenizer_and_is_truncated(tokenizer: Any) -> None:
    texts = datasets.Dataset.from_dict({"text": ["the cat", "the dog sleeps the owl flies"], "label": [1, 0]})
    rows = text_rows(texts, tokenizer)
    first, second = rows.__getitems__([0, 1])
    assert (first["input_ids"], first["attention_mask"], first["labels"]) == ([2, 3], [1, 1], 1)
    assert second["input_ids"] == [2, 4, 6, 2]
    assert {"text", "label", "token_type_ids"}.isdisjoint(first)


def test_large_strings_are_text_too(tokenizer: Any) -> None:
    features = datasets.Features(sentence=datasets.Value("large_string"))
    rows = text_rows(datasets.Dataset.from_dict({"sentence": ["the cat"]}, features=features), tokenizer)
    assert rows[0] == {"input_ids": [2, 3], "attention_mask": [1, 1]}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_raw_images_go_through_the_processor_in_its_colours(mode: str, image_processor: Any) -> None:
    black, white = image_rows(pictures(mode), image_processor).__getitems__([0, 1])
    np.testing.assert_allclose(black["pixel_values"], -np.ones((3, 8, 8)), atol=1e-6)
    assert (black["labels"], white["labels"]) == (1, 0)
    if mode != "RGBA":  # its first picture is transparent, its second not
        np.testing.assert_allclose(white["pixel_values"], np.ones((3, 8, 8)), atol=1e-6)


def test_colour_images_become_grey_for_a_grey_processor() -> None:
    from transformers import ViTImageProcessorPil

    grey = ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.5], image_std=[0.5])
    assert np.shape(image_rows(pictures("RGB"), grey)[0]["pixel_values"]) == (1, 8, 8)


@pytest.mark.parametrize("format_", ["numpy", "torch"])
def test_raw_images_are_read_whatever_the_format(format_: str, image_processor: Any) -> None:
    formatted = image_rows(pictures().with_format(format_), image_processor)[1]
    np.testing.assert_array_equal(
        formatted["pixel_values"], image_rows(pictures(), image_processor)[1]["pixel_values"]
    )


def test_reading_leaves_the_users_data_set_alone(tokenizer: Any) -> None:
    texts = datasets.Dataset.from_dict({"text": ["the cat"], "other": [1]})
    text_rows(texts, tokenizer)[0]
    assert (texts.column_names, texts.format["type"]) == (["text", "other"], None)


# ---- random augmentation ----


def noisy(batch: dict[str, list]) -> dict[str, list]:
    return {"input_ids": [[random.randrange(10_000)] for _ in batch["text"]]}


class Noisy(Items):
    def __getitem__(self, index: int) -> Any:
        return {"input_ids": torch.rand(2)}


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (lambda: tokens([0, 1, 2]), False),
        (lambda: tokens([0, 1, 2]).with_format("torch"), False),
        (lambda: with_labels_under("label"), False),
        (lambda: tokens().with_transform(noisy), True),
        (lambda: Items([{"input_ids": torch.ones(2)}] * 3), False),
        (lambda: Noisy([0] * 3), True),
    ],
    ids=["plain", "torch", "fixed transform", "random transform", "fixed items", "random items"],
)
def test_random_augmentation_is_detected(dataset: Any, expected: bool) -> None:
    """Targets are computed once, which would be wrong for rows that differ at every visit."""
    assert text_rows(dataset()).randomly_augmented is expected


def test_augmentation_of_some_rows_only_is_detected() -> None:
    class Half(Items):
        def __getitem__(self, index: int) -> Any:
            return {"input_ids": torch.rand(2) if index % 2 else torch.ones(2)}

    assert text_rows(Half([0] * 4)).randomly_augmented


# ---- refusals ----


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self) -> Any:
        return iter([{"input_ids": [2], "text": CANARY}])


def words(**columns: list[Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


TEXT_REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a stream of datasets": (
        lambda: tokens().to_iterable_dataset(),
        {},
        r"`forget_dataset` is a stream without a length \(IterableDataset\)",
    ),
    "a stream of torch": (lambda: Stream(), {}, r"a stream without a length \(Stream\)"),
    "unknown label column": (
        lambda: tokens([0, 1, 2]),
        {"label_column": "kind"},
        r"`forget_dataset` has no column 'kind'; its columns are \['input_ids', 'text', 'label'\]. Set `label_column`",
    ),
    "unknown label column of items": (
        lambda: Items([{"input_ids": [2], "text": CANARY}]),
        {"label_column": "kind"},
        r"no column 'kind'; its columns are \['input_ids', 'text'\]",
    ),
    "text without a tokenizer": (
        lambda: words(text=[CANARY]),
        {},
        r"`forget_dataset` has the columns \['text'\]; the model takes `input_ids`.*tokenizer.*=NoneType",
    ),
    "two texts": (lambda: words(a=[CANARY], b=[CANARY]), {"tokenizer": True}, "found: 2 text columns"),
    "no text": (lambda: words(a=[1]), {"tokenizer": True}, "found: 0 text columns"),
    "items that are tuples": (lambda: Items([(CANARY, 1)]), {}, "dictionar"),
    "items that are tuples, with a label column": (
        lambda: Items([(CANARY, 1)]),
        {"label_column": "label"},
        "dictionar|no column",
    ),
    "words for labels": (lambda: tokens([CANARY] * 3, datasets.Value("string")), {}, "label"),
    "several labels a row": (
        lambda: tokens([[0, 1], [1, 1], [0, 0]], datasets.List(datasets.Value("int64"))),
        {},
        "label",
    ),
    "fractions for labels": (lambda: tokens([0.2, 0.7, 1.4], datasets.Value("float64")), {}, "label"),
}


@pytest.mark.parametrize("name", TEXT_REFUSED)
def test_refusal_says_why_and_shows_no_row(name: str, tokenizer: Any) -> None:
    build, options, message = TEXT_REFUSED[name]
    options = dict(options)
    processing_class = tokenizer if options.pop("tokenizer", False) else None
    with pytest.raises(Exception) as caught:
        rows = text_rows(build(), processing_class, **options)
        rows.labels()
        rows[0]
    assert CANARY not in str(caught.value)
    assert isinstance(caught.value, DataError), repr(caught.value)
    assert caught.match(message)


def test_images_without_a_processor_are_refused(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="takes `pixel_values`.*one image column and.*image processor.*NoneType"):
        image_rows(pictures())
    with pytest.raises(DataError, match="image processor.*found: 1 image columns.*TokenizersBackend|Tokenizer"):
        image_rows(pictures(), tokenizer)


def test_text_with_an_image_processor_is_refused(image_processor: Any) -> None:
    with pytest.raises(DataError, match="tokenizer.*processing_class=ViTImageProcessorPil"):
        text_rows(words(text=[CANARY]), image_processor)


def test_a_damaged_image_is_named_by_its_position(image_processor: Any) -> None:
    """The error of the decoder could name a file; nothing else says which row it is."""
    stored = [{"bytes": None, "path": "canary-nowhere.png"}]
    pictures = [{"bytes": _png(), "path": None}] * 3
    features = datasets.Features(image=datasets.Image())
    data = datasets.Dataset.from_dict({"image": [*pictures, *stored, *pictures]}, features=features)
    rows = Rows(data, ["pixel_values"], "pixel_values", image_processor, name="retain_dataset")
    assert len(rows.__getitems__([0, 1])) == 2
    with pytest.raises(DataError, match="Row 3 of `retain_dataset` cannot be read") as caught:
        rows.__getitems__([1, 3, 5])
    assert "canary" not in str(caught.value) and caught.value.__suppress_context__


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()

import io
import random
import sys
import types
import wave
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    ASTFeatureExtractor,
    DataCollatorWithPadding,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

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


# ---- sounds ----

RATE = 16_000


def sounds(rows: list[Any], feature: Any = None) -> datasets.Dataset:
    """Rows of sounds, waveforms unless `feature` says otherwise, beside a text that holds the canary."""
    encoded = isinstance(feature, datasets.Audio)
    stored = datasets.List(datasets.Value("float32")) if feature is None else feature
    features = datasets.Features(
        sound={"bytes": datasets.Value("binary"), "path": datasets.Value("string")} if encoded else stored,
        text=datasets.Value("string"),
        label=datasets.Value("int64"),
    )
    content = {"sound": rows, "text": [CANARY] * len(rows), "label": list(range(len(rows)))}
    built = datasets.Dataset.from_dict(content, features=features)
    return built.cast_column("sound", feature) if encoded else built  # made as `Audio`, they would need torchcodec


def waveforms(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=length).astype("float32") / 4 for length in lengths]


def sound_rows(dataset: Any, extractor: Any = None, main_input: str = "input_values") -> Rows:
    return Rows(dataset, [main_input, "attention_mask", "labels"], main_input, extractor, name="forget_dataset")


EXTRACTORS: dict[str, tuple[Any, tuple[int, ...]]] = {  # with the shape of a batch of rows of 3000 and 2000 samples
    "wav2vec2": (lambda: Wav2Vec2FeatureExtractor(), (2, 3000)),
    "wav2vec2 with a mask": (lambda: Wav2Vec2FeatureExtractor(return_attention_mask=True), (2, 3000)),
    "ast": (lambda: ASTFeatureExtractor(num_mel_bins=16, max_length=24), (2, 24, 16)),
    "whisper": (lambda: WhisperFeatureExtractor(chunk_length=1), (2, 80, 100)),
}


@pytest.mark.parametrize("feature", ["float32", "float64", "large"])
@pytest.mark.parametrize("name", EXTRACTORS)
def test_waveforms_go_through_the_feature_extractor_and_its_padding(
    name: str, feature: str, caplog: pytest.LogCaptureFixture
) -> None:
    build, shape = EXTRACTORS[name]
    extractor, waves = build(), waveforms(3000, 2000)
    inputs = extractor.model_input_names[0]
    stored = datasets.LargeList(datasets.Value("float32")) if feature == "large" else None
    stored = datasets.List(datasets.Value("float64")) if feature == "float64" else stored
    rows = sound_rows(sounds(waves, stored), extractor, inputs).__getitems__([1, 0])
    for row, samples in zip(rows, reversed(waves), strict=True):
        alone = extractor(samples, sampling_rate=RATE)
        np.testing.assert_allclose(row[inputs], alone[inputs][0], atol=1e-6)
        assert row[inputs].dtype == np.float32
        assert ("attention_mask" in row) == ("mask" in name)
    assert [row["labels"] for row in rows] == [1, 0]
    batch = DataCollatorWithPadding(extractor)(rows)  # what the Trainer takes
    assert batch[inputs].shape == shape and batch[inputs].dtype == torch.float32
    if "wav2vec2" in name:
        assert not batch[inputs][0, 2000:].any()
    if "mask" in name:
        assert batch["attention_mask"].sum(-1).tolist() == [2000, 3000]
    assert "sampling_rate" not in caplog.text  # transformers warns where it is not told


def test_sounds_are_found_beside_other_lists_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    with_audio(monkeypatch, lambda value: np.zeros((1, 500), "float32"))
    data = sounds([{"bytes": b"x", "path": None}], datasets.Audio()).add_column("speaker", [[0.5, 0.5]])
    assert sound_rows(data, Wav2Vec2FeatureExtractor())[0]["input_values"].shape == (500,)


def test_stored_inputs_of_audio_models_are_arrays() -> None:
    spectrograms = np.random.rand(2, 6, 4).astype("float32")
    row = sound_rows(datasets.Dataset.from_dict({"input_values": spectrograms}))[1]
    np.testing.assert_array_equal(row["input_values"], spectrograms[1])
    ragged = datasets.Dataset.from_dict({"input_values": waveforms(5, 3), "attention_mask": [[1] * 5, [1] * 3]})
    rows = sound_rows(ragged).__getitems__([0, 1])
    assert [row["input_values"].shape for row in rows] == [(5,), (3,)]
    batch = DataCollatorWithPadding(Wav2Vec2FeatureExtractor(return_attention_mask=True))(rows)
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


@pytest.mark.parametrize("format_", ["numpy", "torch"])
def test_sounds_are_read_whatever_the_format(format_: str) -> None:
    data, extractor = sounds(waveforms(500, 400)), Wav2Vec2FeatureExtractor()
    formatted = sound_rows(data.with_format(format_), extractor)[1]["input_values"]
    np.testing.assert_array_equal(formatted, sound_rows(data, extractor)[1]["input_values"])


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        ([], "holds no sound"),
        (None, "holds no sound"),
        ([0.25, float("nan")], "holds samples that are NaN, infinite or missing"),
        ([0.25, float("inf")], "holds samples that are NaN, infinite or missing"),
        ([0.25, None], "holds samples that are NaN, infinite or missing"),
        ([0.25] * 10, r"has 10 samples, which the feature extractor does not take \(ValueError\)"),
        ([0.25], "has 1 samples"),
    ],
    ids=["empty", "none", "nan", "infinite", "a hole", "short", "one sample"],
)
def test_a_waveform_that_is_none_is_named_by_its_position(sound: Any, message: str) -> None:
    extractor = ASTFeatureExtractor(num_mel_bins=16, max_length=24)
    good = waveforms(500)[0]
    rows = sound_rows(sounds([good, good, good, sound, good]), extractor)
    assert len(rows.__getitems__([0, 4])) == 2
    for positions in ([1, 3, 4], [3]):
        with pytest.raises(DataError, match=f"Row 3 of `forget_dataset` {message}") as caught:
            rows.__getitems__(positions)
        assert "0.25" not in str(caught.value) and caught.value.__suppress_context__


def with_audio(monkeypatch: pytest.MonkeyPatch, decode: Any) -> list[Any]:
    """Decoding without torchcodec: `decode` gives channels `(channels, samples)`. Returns the features that decode."""
    features: list[Any] = []

    class Decoder:
        def __init__(self, channels: np.ndarray) -> None:
            self.data = torch.from_numpy(channels)

        def get_all_samples(self) -> "Decoder":
            return self

    def decode_example(feature: Any, value: Any, token_per_repo_id: Any = None) -> Decoder:
        features.append(feature)
        return Decoder(decode(value))

    monkeypatch.setattr(datasets.Audio, "decode_example", decode_example)
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", types.ModuleType("torchcodec.decoders"))
    return features


@pytest.mark.parametrize("stored", [{}, {"sampling_rate": 44_100}, {"decode": False}, {"num_channels": 1}])
def test_encoded_sounds_are_decoded_at_the_rate_of_the_extractor(
    stored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = waveforms(700)[0]
    features = with_audio(monkeypatch, lambda value: samples[None])
    data = sounds([{"bytes": b"RIFF", "path": None}] * 2, datasets.Audio(**stored))
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=8000)
    row = sound_rows(data, extractor)[1]
    np.testing.assert_array_equal(row["input_values"], extractor(samples, sampling_rate=8000)["input_values"][0])
    assert row["labels"] == 1
    assert {(feature.sampling_rate, feature.decode, feature.num_channels) for feature in features} == {
        (8000, True, stored.get("num_channels"))
    }
    assert data.features["sound"] == datasets.Audio(**stored)


def test_a_damaged_sound_is_named_by_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(value: dict[str, Any]) -> np.ndarray:
        if value["path"] is not None:
            raise RuntimeError(f"cannot open {value['path']}")
        return waveforms(500)[0][None].repeat(2 if value["bytes"] == b"stereo" else 1, axis=0)

    with_audio(monkeypatch, decode)
    good, stereo = {"bytes": b"good", "path": None}, {"bytes": b"stereo", "path": None}
    data = sounds([good, {"bytes": None, "path": f"{CANARY}.wav"}, stereo, None], datasets.Audio())
    rows = sound_rows(data, Wav2Vec2FeatureExtractor())
    for position, message in (
        (1, r"Row 1 of `forget_dataset` cannot be read \(RuntimeError\): its audio is damaged"),
        (2, r"Row 2 of `forget_dataset` has 2 audio channels.*`cast_column\('sound', Audio\(num_channels=1\)\)`"),
        (3, "Row 3 of `forget_dataset` holds no sound"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            rows.__getitems__([0, position])
        assert CANARY not in str(caught.value) and caught.value.__suppress_context__


@pytest.mark.parametrize("error", [ImportError, RuntimeError, OSError])
def test_what_decodes_sounds_is_asked_for_at_once(error: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise error(f"cannot load {name}")

    monkeypatch.setattr("mixunlearn_hf.data.encoders.importlib.import_module", missing)
    data = sounds([{"bytes": b"RIFF", "path": None}], datasets.Audio())
    with pytest.raises(DataError, match=f"`forget_dataset` holds encoded audio.*{error.__name__}.*`torchcodec`.*list"):
        sound_rows(data, Wav2Vec2FeatureExtractor())


def test_real_sounds_are_decoded_and_resampled() -> None:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        pytest.skip("torchcodec is not installed, or finds no FFmpeg")
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) / 2
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes((tone * 32767).astype("<i2").tobytes())
    data = sounds([{"bytes": file.getvalue(), "path": None}, {"bytes": b"none", "path": None}], datasets.Audio())
    rows = sound_rows(data, Wav2Vec2FeatureExtractor())
    values = rows[0]["input_values"]
    assert len(values) == RATE and np.abs(np.fft.rfft(values)).argmax() == 440
    with pytest.raises(DataError, match="Row 1 of `forget_dataset` cannot be read"):
        rows[1]


def test_sounds_without_a_feature_extractor_are_refused(tokenizer: Any, image_processor: Any) -> None:
    data = sounds(waveforms(500))
    for processing_class in (None, tokenizer, image_processor):
        with pytest.raises(DataError, match="takes `input_values`.*one audio column.*feature extractor.*1 audio col"):
            sound_rows(data, processing_class)
    with pytest.raises(DataError, match="0 audio columns.*a list of floats"):
        sound_rows(words(sound=[[1, 2]], text=[CANARY]), Wav2Vec2FeatureExtractor())
    with pytest.raises(DataError, match="2 audio columns"):
        sound_rows(words(a=[[1.0]], b=[[2.0]]), Wav2Vec2FeatureExtractor())
    with pytest.raises(DataError, match="image processor.*processing_class=Wav2Vec2FeatureExtractor"):
        image_rows(pictures(), Wav2Vec2FeatureExtractor())

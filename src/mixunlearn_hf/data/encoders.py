"""From rows as they are stored to model inputs: texts, images and sounds, by what the model was trained with."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import PIL.Image
from transformers import PreTrainedTokenizerBase, SequenceFeatureExtractor
from transformers.tokenization_utils_base import LARGE_INTEGER

from ..errors import DataError

Encode = Callable[[dict[str, Any]], dict[str, Any]]  # from columns of some rows to columns of model inputs


class UnfitRow(Exception):
    """What is wrong with a row, without what it holds. Who knows the position puts it in front."""


def find_encoder(
    dataset: datasets.Dataset, main_input: str, processing_class: Any, name: str, max_length: int | None = None
) -> tuple[datasets.Dataset, Encode]:
    """The raw column of a data set, as it is to be read, and what turns its rows into model inputs.

    Args:
        dataset (`datasets.Dataset`): the rows; one column is text, an image or a sound, as `main_input` wants it.
        main_input (`str`): `input_ids` for texts, `pixel_values` for images, `input_values` or `input_features` for
            sounds.
        processing_class: tokenizer, image processor or feature extractor.
        name (`str`): how error messages call the data set.
        max_length (`int`): longest text, in tokens.

    Raises:
        DataError: there is not one such column, or no fit `processing_class`.
    """
    kind, processor, is_raw = _KINDS.get(main_input, _KINDS["pixel_values"])
    found = [column for column in dataset.column_names if is_raw(dataset.features[column])]
    recorded = [column for column in found if isinstance(dataset.features[column], datasets.Audio)]
    raw = recorded or found  # other floats beside a sound are none
    if len(raw) != 1 or _processor_of(processing_class) != processor:
        raise DataError(
            f"`{name}` has the columns {dataset.column_names}; the model takes `{main_input}`. Pass a data set with "
            f"that column, or one {kind} column and `processing_class=` with the model's {processor} (found: "
            f"{len(raw)} {kind} columns, processing_class={type(processing_class).__name__})."
            + (" A sound is an `Audio`, or a list of floats for one channel." if kind == "audio" else "")
        )
    dataset = dataset.with_format(None).select_columns(raw)
    if kind == "text":
        return dataset, _text_encoder(raw[0], processing_class, max_length)
    if kind == "image":
        return dataset, _image_encoder(raw[0], processing_class)
    return _audio_encoder(dataset, raw[0], processing_class, name)


def is_text(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string", "string_view")


def _is_image(feature: Any) -> bool:
    return isinstance(feature, datasets.Image)


def is_audio(feature: Any) -> bool:
    """Whether a column holds encoded sounds, or waveforms: lists of floats."""
    item = feature.feature if isinstance(feature, (datasets.List, datasets.LargeList)) else None
    return isinstance(feature, datasets.Audio) or isinstance(item, datasets.Value) and item.dtype.startswith("float")


_KINDS: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "input_ids": ("text", "tokenizer", is_text),
    "pixel_values": ("image", "image processor", _is_image),
    "input_values": ("audio", "feature extractor", is_audio),
    "input_features": ("audio", "feature extractor", is_audio),
}


def _processor_of(processing_class: Any) -> str | None:
    """What `processing_class` is, in the words of `_KINDS`; what is nothing else may process images."""
    if isinstance(processing_class, PreTrainedTokenizerBase):
        return "tokenizer"
    if isinstance(processing_class, SequenceFeatureExtractor):
        return "feature extractor"
    return None if processing_class is None else "image processor"


# ---- text ----


def _text_encoder(column: str, tokenizer: Any, max_length: int | None) -> Encode:
    longest = min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)
    limit = longest if longest < LARGE_INTEGER else None  # what a tokenizer without a limit says
    return lambda rows: dict(tokenizer(list(rows[column]), truncation=True, max_length=limit))


# ---- images ----


def _image_encoder(column: str, processor: Any) -> Encode:
    return lambda rows: dict(processor([_in_colour(image, processor) for image in rows[column]]))


def _in_colour(image: Any, processor: Any) -> Any:
    """Grey images for a processor with three means become colour images; others pass as they are."""
    if not isinstance(image, PIL.Image.Image):
        raise DataError(
            f"An image is of the type {type(image).__name__}. Rows without an image cannot be learned from."
        )
    channels = len(getattr(processor, "image_mean", None) or ())
    wanted = {1: "L", 3: "RGB"}.get(channels)
    return image.convert(wanted) if wanted and image.mode != wanted else image


# ---- sounds ----


def _audio_encoder(
    dataset: datasets.Dataset, column: str, extractor: SequenceFeatureExtractor, name: str
) -> tuple[datasets.Dataset, Encode]:
    """Sounds are decoded at the rate of the extractor; of waveforms the rate is not known and taken to be that."""
    rate = extractor.sampling_rate
    feature = dataset.features[column]
    if isinstance(feature, datasets.Audio):
        _require_decoder(name)
        audio = dataclasses.replace(feature, sampling_rate=rate, decode=True)
        dataset = dataset.cast_column(column, dataclasses.replace(feature, decode=False))

        def read(value: Any) -> Any:
            return _decoded(value, audio, column)
    else:
        dataset = dataset.with_format("numpy")  # arrays, of different length

        def read(value: Any) -> Any:
            return value

    def encode(rows: dict[str, Any]) -> dict[str, Any]:
        encoded = [_features(_waveform(read(value)), extractor, rate) for value in rows[column]]
        return {key: [one[key] for one in encoded] for key in encoded[0]}

    return dataset, encode


def _require_decoder(name: str) -> None:
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError) as error:  # the latter two: FFmpeg is missing, or another torch
        raise DataError(
            f"`{name}` holds encoded audio, and what decodes it cannot be loaded ({type(error).__name__}). Install "
            "`torchcodec` (with pip) and FFmpeg, or store waveforms as lists of floats, sampled as the feature "
            "extractor wants them."
        ) from None


def _decoded(value: Any, audio: datasets.Audio, column: str) -> np.ndarray | None:
    """The waveform `(samples,)` of an encoded sound."""
    if value is None:
        return None
    try:
        channels = audio.decode_example(value).get_all_samples().data.cpu().numpy()  # (channels, samples)
    except Exception as error:  # as the decoder has it; its text can name a file
        raise UnfitRow(
            f"cannot be read ({type(error).__name__}): its audio is damaged, or its file is missing. Mend or remove "
            "such rows."
        ) from None
    if len(channels) != 1:
        raise UnfitRow(
            f"has {len(channels)} audio channels, and the model takes one. Mix them, such as by "
            f"`cast_column({column!r}, Audio(num_channels=1))`."
        )
    return channels[0]


def _waveform(values: Any) -> np.ndarray:
    """Samples as `(samples,)`, checked."""
    if values is None or not len(values):
        raise UnfitRow("holds no sound: its waveform is missing or empty. Remove such rows.")
    samples = np.asarray(values, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise UnfitRow("holds samples that are NaN, infinite or missing. Mend or remove such rows.")
    return samples


def _features(samples: np.ndarray, extractor: Any, rate: int) -> dict[str, Any]:
    """Model inputs of one row. It comes alone: it is padded only where the extractor pads to a length of its own."""
    try:
        features = extractor(samples, sampling_rate=rate)
    except ValueError as error:
        raise UnfitRow(
            f"has {len(samples)} samples, which the feature extractor does not take ({type(error).__name__}). Remove "
            "rows that are so short."
        ) from None
    return {key: value[0] for key, value in features.items()}

"""Data sets of images and of texts, each row with a label."""

import io
from typing import Any

import datasets
import PIL.Image


def encoded(image: PIL.Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **(how or {"format": "PNG"}))
    return buffer.getvalue()


def image_rows(images: list[Any], labels: list[int] | None = None) -> datasets.Dataset:
    """Rows with an image each, from images, bytes or `None`."""
    stored = [
        None if image is None else {"bytes": image if isinstance(image, bytes) else encoded(image), "path": None}
        for image in images
    ]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"image": stored, "label": labels or [0] * len(images)}, features=features)


def text_rows(texts: list[Any], labels: list[int] | None = None) -> datasets.Dataset:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"text": texts, "label": labels or [0] * len(texts)}, features=features)

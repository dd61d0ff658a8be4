"""A small grey picture of any image, which is all that is compared."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import PIL.Image

from .content import no_image

SIDE = 32  # pixels
BLANK = 1.0  # standard deviation, in grey levels of 255, below which a picture shows nothing but noise


def small_grey(image: PIL.Image.Image) -> PIL.Image.Image:
    """A grey picture of 32 x 32 pixels. What is transparent becomes white; 16-bit values are stretched to 8."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    if image.mode.startswith(("I", "F")):
        image = PIL.Image.fromarray(_stretched(np.asarray(image)))
    return image.convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)


def of_stored(value: dict[str, Any] | None) -> np.ndarray | None:
    """The picture `(32, 32)` in uint8 of an undecoded image, `None` where there is none or it is blank."""
    return None if no_image(value) else _unless_blank(datasets.Image().decode_example(value))


def of_array(value: Any) -> np.ndarray | None:
    """The picture `(32, 32)` in uint8 of an array `(C, H, W)`, `(H, W, C)` or `(H, W)` with any range of values."""
    if value is None:
        return None
    array = np.asarray(value, dtype=np.float64)
    if not array.size or not is_picture(array.shape) or not np.isfinite(array).all():
        raise ValueError
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    stretched = _stretched(array)
    return _unless_blank(PIL.Image.fromarray(stretched[..., 0] if stretched.shape[2:] == (1,) else stretched))


def is_picture(shape: Sequence[int]) -> bool:
    """Whether arrays of this shape can be seen as pictures."""
    return len(shape) == 2 or len(shape) == 3 and (shape[0] in (1, 3) or shape[-1] in (1, 3))


def window(pictures: np.ndarray, x: int = 0, y: int = 0) -> np.ndarray:
    """The inner 30 x 30 pixels of pictures `(..., 32, 32)`, moved by at most one."""
    return pictures[..., 1 + y : SIDE - 1 + y, 1 + x : SIDE - 1 + x]


def _unless_blank(image: PIL.Image.Image) -> np.ndarray | None:
    picture = np.asarray(small_grey(image))
    return None if window(picture).std() < BLANK else picture


def _stretched(array: np.ndarray) -> np.ndarray:
    """Any range of values as 0 to 255. Neither hashes nor correlations depend on it."""
    array = array.astype(np.float64)
    low, high = array.min(), array.max()
    return np.round((array - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)

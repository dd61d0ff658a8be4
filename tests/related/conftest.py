"""Small real images and invented sentences."""

import numpy as np
import PIL.Image
import pytest
from sklearn.datasets import load_digits

PLACES = ("harbour", "library", "orchard", "tunnel", "market", "lighthouse", "bakery", "quarry")
EVENTS = (
    "closed early after the pump failed and nobody could find a spare part",
    "hired two gardeners who promised to plant lavender along the southern wall",
    "lost its roof in the gale, yet the clock above the door kept good time",
    "will sell tickets from Tuesday; children under six enter without paying",
    "reported that a grey heron nests under the old crane every spring",
)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return [f"The {place} {event}." for event in EVENTS for place in PLACES][::7] + [
        f"Minutes of meeting {number}: the {place} asked for {number + 3} new lamps and got {number // 2}."
        for number, place in enumerate(PLACES * 2, start=11)
    ]


@pytest.fixture(scope="session")
def digits() -> list[PIL.Image.Image]:
    """120 handwritten digits, 32 x 32 pixels, grey."""
    images = load_digits().images[:120]
    return [
        PIL.Image.fromarray((image * 255 / 16).astype(np.uint8)).resize((32, 32), PIL.Image.Resampling.BICUBIC)
        for image in images
    ]

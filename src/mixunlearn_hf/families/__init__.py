"""Model families: where a model embeds its input, and where the features for MixBlock come from."""

from . import audio, convolutional, timm, vision_transformers  # noqa: F401  each registers its families
from .base import Family, SequenceFamily
from .features import FeatureLayer, extract_features
from .registry import family_of, register_family, registered_families
from .sites import EmbeddingSite, MixingSite, PixelSite, check_mixing
from .text import TokenFamily
from .vision_transformers import PatchFamily

__all__ = [
    "EmbeddingSite",
    "Family",
    "FeatureLayer",
    "MixingSite",
    "PatchFamily",
    "PixelSite",
    "SequenceFamily",
    "TokenFamily",
    "check_mixing",
    "extract_features",
    "family_of",
    "register_family",
    "registered_families",
]

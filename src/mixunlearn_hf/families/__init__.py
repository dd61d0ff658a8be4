"""Model families: where a model embeds its input, and where the features for MixBlock come from."""

from . import bert, resnet, vit  # noqa: F401  each registers its family
from .base import Family, TokenFamily
from .registry import family_of, register_family, supported_model_types
from .sites import EmbeddingSite, MixingSite, PixelSite, extract_features

__all__ = [
    "EmbeddingSite",
    "MixingSite",
    "PixelSite",
    "TokenFamily",
    "Family",
    "family_of",
    "extract_features",
    "register_family",
    "supported_model_types",
]

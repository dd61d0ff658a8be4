"""Vision transformers: patch embeddings are mixed; position and class tokens are common to both samples."""

import math

from torch import Tensor, nn

from .base import Family, middle, submodule
from .registry import register_family


@register_family
class ViTFamily(Family):
    model_types = ("vit",)
    channel_dim = -1
    num_prefix_tokens = 1  # the class token, in front of the patches

    def embedding_module(self, model: nn.Module) -> nn.Module:
        return model.get_submodule("vit.embeddings.patch_embeddings")

    def feature_module(self, model: nn.Module) -> nn.Module:
        return middle(submodule(model, "vit.layers", "vit.encoder.layer"))

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return grid(embeddings.shape[1])

    def features(self, output: Tensor) -> Tensor:
        patches = output[:, self.num_prefix_tokens :].transpose(1, 2)
        return patches.unflatten(-1, grid(patches.shape[-1]))


def grid(patches: int) -> tuple[int, ...]:
    """The map a number of patches makes: square where it can be, else a sequence."""
    side = math.isqrt(patches)
    return (side, side) if side * side == patches else (patches,)

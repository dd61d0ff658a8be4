"""Vision transformers: patch embeddings are mixed; position and class tokens are common to both samples."""

import numpy as np
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
        return self._grid(embeddings.shape[1])

    def features(self, output: Tensor) -> Tensor:
        patches = output[:, self.num_prefix_tokens :].transpose(1, 2)
        return patches.unflatten(-1, self._grid(patches.shape[-1]))

    def _grid(self, patches: int) -> tuple[int, ...]:
        """The map the patches make; a sequence for images of another size than the config's."""
        height, width = np.broadcast_to(self.config.image_size, 2) // np.broadcast_to(self.config.patch_size, 2)
        return (int(height), int(width)) if height * width == patches else (patches,)

"""Vision transformers: patch embeddings are mixed; position and class tokens are common to both samples."""

import math

import numpy as np
from torch import Tensor, nn

from .base import SequenceFamily
from .registry import register_family


class PatchFamily(SequenceFamily):
    """Patches of an image in rows, behind `num_prefix_tokens` tokens that are no patches."""

    num_prefix_tokens = 0
    embedding_paths = ("embeddings.patch_embeddings",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.image_size = getattr(self.config, "image_size", 1)  # one number for a square

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return self.grid(embeddings.shape[1])

    def features(self, output: Tensor) -> Tensor:
        patches = output[:, self.num_prefix_tokens :].transpose(1, 2)
        return patches.unflatten(-1, self.grid(patches.shape[-1]))

    def grid(self, patches: int) -> tuple[int, ...]:
        """Rows and columns of the patches, in the proportion of the image; `(patches,)` where none fits."""
        height, width = np.broadcast_to(self.image_size, 2)
        rows = max(round(math.sqrt(patches * height / width)), 1)
        return (rows, patches // rows) if patches % rows == 0 else (patches,)


@register_family
class ViTFamily(PatchFamily):
    model_types = ("vit", "beit", "dinov2")
    num_prefix_tokens = 1  # the class token


@register_family
class DeiTFamily(PatchFamily):
    model_types = ("deit",)
    num_prefix_tokens = 2  # the class token and the distillation token


@register_family
class RegistersFamily(PatchFamily):
    model_types = ("dinov2_with_registers",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.num_prefix_tokens = 1 + self.config.num_register_tokens


@register_family
class SwinFamily(PatchFamily):
    model_types = ("swin", "swinv2")

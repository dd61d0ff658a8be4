"""Vision transformers: patch embeddings are mixed; position and class tokens are common to both samples."""

import numpy as np
from torch import Tensor, nn

from .base import SequenceFamily
from .registry import register_family


class PatchFamily(SequenceFamily):
    """Patches of an image in rows, behind `num_prefix_tokens` tokens that are no patches."""

    num_prefix_tokens = 0
    embedding_paths = ("embeddings.patch_embeddings",)

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return self.grid(embeddings.shape[1])

    def features(self, output: Tensor) -> Tensor:
        patches = output[:, self.num_prefix_tokens :].transpose(1, 2)
        return patches.unflatten(-1, self.grid(patches.shape[-1]))

    def grid(self, patches: int) -> tuple[int, ...]:
        """Rows and columns of so many patches; `(patches,)` for images of another size than the config's."""
        rows, columns = self.patch_grid()
        while rows * columns > patches:  # behind a layer that merged four patches into one
            rows, columns = -(-rows // 2), -(-columns // 2)
        return (rows, columns) if rows * columns == patches else (patches,)

    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of an image."""
        size, patch = (np.broadcast_to(one, 2) for one in (self.config.image_size, self.config.patch_size))
        rows, columns = (size // patch).tolist()
        return rows, columns


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
    """Images that do not divide into patches are padded."""

    model_types = ("swin", "swinv2")

    def patch_grid(self) -> tuple[int, int]:
        size, patch = (np.broadcast_to(one, 2) for one in (self.config.image_size, self.config.patch_size))
        rows, columns = (-(-size // patch)).tolist()
        return rows, columns

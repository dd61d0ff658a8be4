"""Vision transformers: patch embeddings are mixed; position and class tokens are common to both samples."""

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

    def features(self, output: Tensor) -> Tensor:
        return output[:, self.num_prefix_tokens :].transpose(1, 2)

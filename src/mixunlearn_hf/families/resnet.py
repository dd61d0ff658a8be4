"""ResNet: the output of the stem is mixed, features come from the stage in the middle."""

from torch import nn

from .base import Family, middle
from .registry import register_family


@register_family
class ResNetFamily(Family):
    model_types = ("resnet",)

    def embedding_module(self, model: nn.Module) -> nn.Module:
        return model.get_submodule("resnet.embedder")

    def feature_module(self, model: nn.Module) -> nn.Module:
        return middle(model.get_submodule("resnet.encoder.stages"))

"""Models of timm: the first convolution is mixed, features come from the layers that timm names as such."""

from typing import Any

from torch import Tensor, nn

from ..errors import UnsupportedModelError
from .registry import register_family
from .vision_transformers import PatchFamily


@register_family
class TimmFamily(PatchFamily):
    model_types = ("timm_wrapper",)
    channel_dim = 1
    embedding_ndim = 4

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.image_size = getattr(getattr(model.timm_model, "patch_embed", None), "grid_size", 1)
        self.architecture = str(self.config.architecture)
        self.num_prefix_tokens = getattr(model.timm_model, "num_prefix_tokens", 0)
        self.channels_last = getattr(model.timm_model, "output_fmt", "NCHW") == "NHWC"

    def embedding_module(self, model: Any) -> nn.Module:
        first = model.timm_model.pretrained_cfg.get("first_conv")
        if not isinstance(first, str):
            raise UnsupportedModelError(
                f"timm names no single first convolution for {self.architecture!r} (it says {first!r}), so it is not "
                "known where to mix its samples. Register a family of your own for the class of its `timm_model`."
            )
        return model.timm_model.get_submodule(first)

    def layers(self, model: Any) -> list[nn.Module]:
        return [model.timm_model.get_submodule(layer["module"]) for layer in model.timm_model.feature_info]

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return tuple(embeddings.shape[2:])

    def features(self, output: Tensor) -> Tensor:
        if output.ndim == 3:
            return super().features(output)
        return output.permute(0, 3, 1, 2) if self.channels_last else output

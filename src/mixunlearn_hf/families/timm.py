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
        self.architecture = str(self.config.architecture)
        self.num_prefix_tokens = getattr(model.timm_model, "num_prefix_tokens", 0)
        self.channels_last = getattr(model.timm_model, "output_fmt", "NCHW") == "NHWC"
        self.channels = {layer["num_chs"] for layer in model.timm_model.feature_info}
        self.tokens = getattr(getattr(model.timm_model, "patch_embed", None), "grid_size", None)
        if type(model.timm_model).__name__ == "Hiera":
            raise UnsupportedModelError(
                f"The layers of {self.architecture!r} give patches in an order of their own, so its features have no "
                "places. Hiera is not supported."
            )

    def embedding_module(self, model: Any) -> nn.Module:
        return self._named(model, model.timm_model.pretrained_cfg.get("first_conv"), "first convolution")

    def layers(self, model: Any) -> list[nn.Module]:
        return [self._named(model, layer["module"], "layer") for layer in model.timm_model.feature_info]

    def _named(self, model: Any, name: Any, what: str) -> nn.Module:
        try:
            return model.timm_model.get_submodule(name)
        except AttributeError:
            raise UnsupportedModelError(
                f"timm calls {name!r} a {what} of {self.architecture!r}, which is no module of it, so it is not known "
                "where to mix its samples or look at them. Register a family of your own (docs/models.md)."
            ) from None

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return tuple(embeddings.shape[2:])

    def features(self, output: Tensor) -> Tensor:
        if output.ndim == 3:
            return super().features(output)
        first, last = output.shape[1] in self.channels, output.shape[-1] in self.channels
        return output.permute(0, 3, 1, 2) if last and (self.channels_last or not first) else output

    def patch_grid(self) -> tuple[int, int]:
        return self.tokens or (1, 1)

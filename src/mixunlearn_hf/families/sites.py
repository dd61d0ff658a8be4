"""Reading and replacing what a model computes on the way, by hooks on the modules a family names."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModelError
from .base import Family

Replacement = Callable[[Tensor], Tensor]


class MixingSite(Protocol):
    """Where samples are mixed."""

    channel_dim: int

    def run(self, model: nn.Module, inputs: dict[str, Tensor], replacement: Replacement) -> Tensor:
        """Logits of one forward in which the embeddings `(B, ...)` pass through `replacement`."""

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        """Shape of embeddings without their batch and channel dimensions."""


class EmbeddingSite:
    """The place where a model embeds its input.

    One hook is registered for good, since a compiled model does not see hooks registered after its first call.
    """

    def __init__(self, family: Family, model: nn.Module) -> None:
        self.channel_dim = family.channel_dim
        self.positions = family.positions
        self._replacement: Replacement | None = None
        self._calls = 0
        family.embedding_module(model).register_forward_hook(self._hook)

    def run(self, model: nn.Module, inputs: dict[str, Tensor], replacement: Replacement) -> Tensor:
        self._replacement, self._calls = replacement, 0
        try:
            logits = model(**inputs).logits
        finally:
            self._replacement = None
        assert self._calls == 1, f"the embedding was computed {self._calls} times in one forward"
        return logits

    def _hook(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if self._replacement is None:
            return None
        self._calls += 1
        if output.ndim != (4 if self.channel_dim == 1 else 3):
            kind = "maps (B, C, H, W)" if self.channel_dim == 1 else "sequences (B, L, C)"
            raise UnsupportedModelError(
                f"The family of this model says that its embeddings are {kind}, and they have the shape "
                f"{tuple(output.shape)}. Sequences need `channel_dim = -1`; text needs `TokenFamily`."
            )
        return self._replacement(output)


class PixelSite:
    """The image itself, the paper's own setting."""

    channel_dim = 1

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return tuple(embeddings.shape[2:])

    def run(self, model: nn.Module, inputs: dict[str, Tensor], replacement: Replacement) -> Tensor:
        return model(**{**inputs, "pixel_values": replacement(inputs["pixel_values"])}).logits


class _FeaturesReached(Exception):
    """Ends a forward at the layer the features come from."""


@torch.no_grad()
def extract_features(family: Family, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Features of a model, `(B, C, *positions)` in float32. The layers behind them are not computed."""
    features: list[Tensor] = []

    def stop_here(module: nn.Module, args: Any, output: Any) -> None:
        features.append(family.features(output[0] if isinstance(output, tuple) else output).float())
        raise _FeaturesReached

    handle = family.feature_module(model).register_forward_hook(stop_here)
    try:
        model(**inputs)
    except _FeaturesReached:
        pass
    finally:
        handle.remove()
    return features[0]

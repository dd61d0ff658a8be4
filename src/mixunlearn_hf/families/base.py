"""What a family has to say about its models."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Family:
    """Where the models of a family embed their input and where their features come from.

    A subclass names the two modules; what it inherits serves models whose embedding is a map `(B, C, H, W)`. Register
    it with [`register_family`].
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    """Values of `config.model_type` the family serves."""
    main_input: ClassVar[str] = "pixel_values"
    channel_dim: ClassVar[int] = 1
    """Channel dimension of the embedding: 1 for maps, -1 for sequences."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def embedding_module(self, model: nn.Module) -> nn.Module:
        """The module whose output is mixed, called once a forward."""
        raise NotImplementedError

    def feature_module(self, model: nn.Module) -> nn.Module:
        """The module of the original model whose output MixBlock looks at, a middle layer."""
        raise NotImplementedError

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        """Shape of an embedding without its batch and channel dimensions."""
        return tuple(embeddings.shape[2:] if self.channel_dim == 1 else embeddings.shape[1:-1])

    def features(self, output: Tensor) -> Tensor:
        """What the feature module gave, as `(B, C, *positions)`."""
        return output

    def present(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """Positions with content, bool of shape `(B, *positions)`; `None` where every position has."""
        return None

    def mixed_inputs(self, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> dict[str, Tensor]:
        """Model inputs of the mixed rows. Their embedding is replaced; the rest must fit both samples."""
        return forget


def middle(blocks: nn.Module) -> nn.Module:
    """The last block of the first half."""
    listed = list(blocks.children())
    return listed[max(len(listed) // 2, 1) - 1]


def submodule(model: nn.Module, *paths: str) -> nn.Module:
    """The first of several dotted paths that the model has (they differ between releases of transformers)."""
    for path in paths:
        try:
            return model.get_submodule(path)
        except AttributeError:
            continue
    raise AttributeError(f"{type(model).__name__} has none of the modules {list(paths)}")


class TokenFamily(Family):
    """Text encoders: token embeddings `(B, L, C)` are mixed, padded positions have no say."""

    main_input = "input_ids"
    channel_dim = -1

    def embedding_module(self, model: nn.Module) -> nn.Module:
        return model.get_input_embeddings()  # type: ignore[operator]

    def features(self, output: Tensor) -> Tensor:
        return output.transpose(1, 2)

    def present(self, inputs: dict[str, Tensor]) -> Tensor | None:
        mask = inputs.get("attention_mask")
        return None if mask is None else mask.bool()

    def mixed_inputs(self, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> dict[str, Tensor]:
        present = self.present(forget), self.present(retain)
        if present[0] is None or present[1] is None:
            return forget
        mixed = {name: torch.where(present[0], value, retain[name]) for name, value in forget.items()}
        return {**mixed, "attention_mask": (present[0] | present[1]).to(forget["attention_mask"].dtype)}

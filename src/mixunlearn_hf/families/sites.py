"""Mixing samples inside a model's own forward, by a hook on the module a family names."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..classifier import bare, logits_of, main_input
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
        family.embedding_module(bare(model)).register_forward_hook(self._hook)

    def run(self, model: nn.Module, inputs: dict[str, Tensor], replacement: Replacement) -> Tensor:
        self._replacement, self._calls = replacement, 0
        try:
            logits = logits_of(model(**inputs))
        finally:
            self._replacement = None
        if self._calls != 1:
            raise UnsupportedModelError(
                f"{type(bare(model)).__name__} calls the module that embeds its input {self._calls} times in one "
                "forward, and it must be once. Register a family that names another module."
            )
        return logits

    @torch.compiler.disable
    def _hook(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Replace what the module gave, the first of several things."""
        if self._replacement is None:
            return None
        self._calls += 1
        if isinstance(output, tuple):
            return self._replacement(output[0]), *output[1:]
        return self._replacement(output)


class PixelSite:
    """The image itself, the paper's own setting."""

    channel_dim = 1

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return tuple(embeddings.shape[2:])

    def run(self, model: nn.Module, inputs: dict[str, Tensor], replacement: Replacement) -> Tensor:
        return logits_of(model(**{**inputs, "pixel_values": replacement(inputs["pixel_values"])}))


@torch.no_grad()
def check_mixing(family: Family, site: EmbeddingSite, model: nn.Module, row: dict[str, Tensor]) -> Tensor:
    """Refuse a family that does not fit its model; gives the embedding of the row.

    In a batch of one row twice, the embedding of the second is exchanged for that of the row read backwards. The
    model must then say of the first what it says of the row, and of the second what it says of the row read backwards.

    Args:
        row (`dict[str, Tensor]`): model inputs of one row, `(1, ...)`.

    Raises:
        UnsupportedModelError: it does not.
    """
    backwards = _backwards(row, main_input(model))
    kept: list[Tensor] = []

    def keep(embedding: Tensor) -> Tensor:
        kept.append(embedding)
        return embedding

    def exchange(embeddings: Tensor) -> Tensor:
        if embeddings.shape != (2, *kept[0].shape[1:]) or embeddings.ndim != family.embedding_ndim:
            raise UnsupportedModelError(
                f"{type(family).__name__} says that {type(bare(model)).__name__} embeds its input in "
                f"{family.embedding_ndim} dimensions, rows first, and for two rows the shape is "
                f"{tuple(embeddings.shape)}. Sequences (B, L, C) need a `SequenceFamily`, text a `TokenFamily`."
            )
        return torch.cat([embeddings[:1], kept[1]])

    expected = torch.cat([site.run(model, one, keep) for one in (row, backwards)])
    logits = site.run(model, {key: torch.cat([value, value]) for key, value in row.items()}, exchange)
    gap, scale, difference = (float(x.abs().max()) for x in (logits - expected, expected, expected[0] - expected[1]))
    if not gap <= 0.25 * difference + (1e-4 if logits.dtype == torch.float32 else 1e-2) * scale:
        raise UnsupportedModelError(
            f"Mixing where {type(family).__name__} says is not mixing the samples of {type(bare(model)).__name__}: "
            f"with the embedding of one row exchanged for that of another, its logits are off by {gap:.2g}. The model "
            "reads its input elsewhere too. Register a family that names another module."
        )
    return kept[0]


def _backwards(row: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The row with what it holds in another order; of text, padding and the first and last token stay in place."""
    if name != "input_ids":
        return {**row, name: row[name].flip(-1)}
    tokens = row[name].clone()
    places = row.get("attention_mask", torch.ones_like(tokens))[0].nonzero()[1:-1, 0]
    tokens[0, places] = tokens[0, places.flip(0)]
    return {**row, name: tokens}

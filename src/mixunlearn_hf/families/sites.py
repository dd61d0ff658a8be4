"""Mixing samples inside a model's own forward, by a hook on the module a family names."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..classifier import bare, evaluating, logits_of, main_input
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
        module = family.embedding_module(bare(model))
        if not isinstance(module, nn.Module):
            raise UnsupportedModelError(
                f"`embedding_module` of {type(family).__name__} must give a module, and gave a {type(module).__name__}"
            )
        self._handle = module.register_forward_hook(self._hook)

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

    def remove(self) -> None:
        """Leave the model as it was."""
        self._handle.remove()

    @torch.compiler.disable
    def _hook(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Replace what the module gave, the first of several things."""
        if self._replacement is None:
            return None
        self._calls += 1
        embedding = output[0] if isinstance(output, tuple) else output
        if not isinstance(embedding, Tensor):
            raise UnsupportedModelError(
                f"The {type(module).__name__} that should embed the input gives a {type(embedding).__name__} and no "
                "tensor. Register a family that names another module."
            )
        replaced = self._replacement(embedding)
        if replaced is embedding:
            replaced = embedding.clone()  # what was looked at is not changed in place by the model
        return (replaced, *output[1:]) if isinstance(output, tuple) else replaced


class PixelSite:
    """The image itself, the paper's own setting."""

    channel_dim = 1

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        return tuple(embeddings.shape[2:])

    def run(self, model: nn.Module, inputs: dict[str, Tensor], replacement: Replacement) -> Tensor:
        return logits_of(model(**{**inputs, "pixel_values": replacement(inputs["pixel_values"])}))


Row = dict[str, Tensor]
"""Model inputs of one row, `(1, ...)`."""


@torch.no_grad()
def check_mixing(family: Family, site: EmbeddingSite, model: nn.Module, row: Row, other: Row) -> bool:
    """Refuse a family that does not fit its model; says whether these rows could tell.

    In a batch of one row twice, the embedding of the second is exchanged for that of another row. The model must then
    say of the first what it says of the row, and of the second what it says of the other.

    Args:
        row, other (`dict[str, Tensor]`): model inputs of one row each, `(1, ...)`, of one shape.

    Raises:
        UnsupportedModelError: it does not.
    """
    other = _with_content_of(other, row, main_input(model), family)
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

    with evaluating(model):
        expected = torch.cat([site.run(model, one, keep) for one in (row, other)]).float()
        logits = site.run(model, {key: torch.cat([value, value]) for key, value in row.items()}, exchange)
    rounding = (1e-5 if logits.dtype in (torch.float32, torch.float64) else 1e-2) * float(expected.abs().max())
    gap, difference = float((logits - expected).abs().max()), float((expected[0] - expected[1]).abs().max())
    if not gap <= 0.01 * difference + rounding:
        raise UnsupportedModelError(
            f"Mixing where {type(family).__name__} says is not mixing the samples of {type(bare(model)).__name__}: "
            f"with the embedding of one row exchanged for that of another, its logits are off by {gap:.2g}, of the "
            f"{difference:.2g} that the two rows differ by. The model reads its input elsewhere too. Register a "
            "family that names another module."
        )
    return difference > 10 * rounding


def _with_content_of(other: Row, row: Row, name: str, family: Family) -> Row:
    """The row with what the other holds; of text, tokens that say where a row ends or begins stay."""
    if name != "input_ids":
        return {**row, name: other[name]}
    present = [family.present(one) for one in (row, other)]
    exchanged = torch.ones_like(row[name], dtype=torch.bool)
    for one, tokens in zip(present, (row[name], other[name]), strict=True):
        exchanged &= exchanged if one is None else one
        for special in ("pad", "bos", "eos", "cls", "sep"):
            number = getattr(family.config, f"{special}_token_id", None)
            if isinstance(number, int):
                exchanged &= tokens != number
    if int(exchanged.sum()) > 2:  # the first and the last token can have a part of their own
        exchanged[0, exchanged[0].nonzero()[[0, -1], 0]] = False
    return {**row, name: torch.where(exchanged, other[name], row[name])}

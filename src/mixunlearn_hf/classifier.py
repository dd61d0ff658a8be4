"""What any classifier has, be it from transformers, wrapped by PEFT, or a module of one's own."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrapper of PEFT."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def input_names(model: nn.Module) -> list[str]:
    """The arguments that the model takes, by name."""
    return list(inspect.signature(bare(model).forward).parameters)


def main_input(model: nn.Module) -> str:
    """The argument that carries the sample: what transformers says, else the first one."""
    return getattr(bare(model), "main_input_name", None) or input_names(model)[0]


def logits_of(output: Any) -> Any:
    """The logits `(B, C)` in what a model returned: under that name, else the first of several things, else all."""
    if isinstance(output, Mapping):
        return output.get("logits")
    if hasattr(output, "logits"):
        return output.logits
    return output[0] if isinstance(output, tuple) else output


def longest_text(model: nn.Module) -> int | None:
    """Tokens of the longest row that the model has positions for, where that is limited."""
    model = bare(model)
    for name, module in model.named_modules():
        if (
            name.endswith("position_embeddings")
            and isinstance(module, nn.Embedding)
            and module.padding_idx is not None
        ):
            return module.num_embeddings - module.padding_idx - 1  # positions are counted from behind that of padding
    longest = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return longest if longest is not None and longest > 0 else None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode; after it, every part is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode

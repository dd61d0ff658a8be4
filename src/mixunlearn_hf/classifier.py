"""What any classifier has, be it from transformers, wrapped by PEFT, or a module of one's own."""

import inspect
from typing import Any

from torch import Tensor, nn


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrapper of PEFT."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def input_names(model: nn.Module) -> list[str]:
    """The arguments that the model takes, by name."""
    return list(inspect.signature(bare(model).forward).parameters)


def main_input(model: nn.Module) -> str:
    """The argument that carries the sample: what transformers says, else the first one."""
    return getattr(bare(model), "main_input_name", None) or input_names(model)[0]


def logits_of(output: Any) -> Tensor:
    """The logits `(B, C)` in what a model returned: an output of transformers, a dictionary, a tuple or the tensor."""
    if isinstance(output, dict):
        return output["logits"]
    return output[0] if isinstance(output, tuple) else output

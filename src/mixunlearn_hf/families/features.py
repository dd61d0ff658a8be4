"""Reading features of a model, without computing the layers behind them."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..classifier import bare
from ..errors import ConfigError, UnsupportedModelError
from .base import Family


@dataclass(frozen=True)
class FeatureLayer:
    """A layer of a model, and which of its runs in a forward is meant, counted from 0."""

    module: nn.Module
    run: int = 0

    @classmethod
    def find(cls, family: Family, model: nn.Module, layer: str | int | None = None) -> "FeatureLayer":
        """A layer by its number among `family.layers` (`"3"`, `"-1"`) or by its dotted name in the model.

        By default the last layer of the first half.

        Raises:
            ConfigError: the model has no such layer.
            UnsupportedModelError: the family names no layers.
        """
        model = bare(model)
        layers = family.layers(model)
        if not isinstance(layers, list) or not layers or not all(isinstance(one, nn.Module) for one in layers):
            raise UnsupportedModelError(
                f"`layers` of {type(family).__name__} must give a list of modules of {type(model).__name__}, at least "
                f"one; it gave {layers if layers == [] else type(layers).__name__}."
            )
        if layer is None:
            number = max(len(layers) // 2, 1) - 1
        elif re.fullmatch(r"-?\d+", str(layer)):
            number = int(layer)
            if not -len(layers) <= number < len(layers):
                raise ConfigError(
                    f"`feature_layer={layer!r}` does not exist: {type(model).__name__} has {len(layers)} layers, "
                    f"numbers 0 to {len(layers) - 1}."
                )
            number %= len(layers)
        else:
            named = dict(model.named_modules()).get(str(layer))
            if not any(named is part for one in layers for part in one.modules()):
                raise ConfigError(
                    f"`feature_layer={layer!r}` is none of the layers of {type(model).__name__} and no part of one. "
                    f"Give a number from 0 to {len(layers) - 1}, or a name as in `model.named_modules()`."
                )
            assert named is not None
            return cls(named)
        return cls(layers[number], sum(one is layers[number] for one in layers[:number]))


class _FeaturesReached(Exception):
    """Ends a forward at the layer the features come from."""


@torch.no_grad()
def extract_features(family: Family, model: nn.Module, inputs: dict[str, Tensor], layer: FeatureLayer) -> Tensor:
    """Features of a model, `(B, C, *positions)` in float32. The layers behind them are not computed.

    Raises:
        ConfigError: the layer does not run, or gives no features.
    """
    outputs: list[Any] = []

    def stop_here(module: nn.Module, args: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, (tuple, list)) else output)
        if len(outputs) > layer.run:
            raise _FeaturesReached

    handle = layer.module.register_forward_hook(stop_here)
    try:
        model(**inputs)
    except _FeaturesReached:
        pass
    finally:
        handle.remove()
    name = type(layer.module).__name__
    if len(outputs) <= layer.run:
        raise ConfigError(f"The layer that features should come from, a {name}, does not run in a forward.")
    output = outputs[-1]
    rows = len(next(iter(inputs.values())))
    if not isinstance(output, Tensor) or output.ndim < 3 or len(output) != rows:
        came = f"the shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ConfigError(
            f"The layer that features should come from, a {name}, gives {came}, and no features at several positions "
            "of every row. Choose another `feature_layer`."
        )
    return family.features(output).float()

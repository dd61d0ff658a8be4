"""The registry of families, found from a model's own config."""

from torch import nn

from ..errors import UnsupportedModelError
from .base import Family

_FAMILIES: dict[str, type[Family]] = {}


def register_family(family: type[Family]) -> type[Family]:
    """Register a family for its `model_types`; usable as a decorator. A later registration wins."""
    for model_type in family.model_types:
        _FAMILIES[model_type] = family
    return family


def supported_model_types() -> list[str]:
    """Values of `config.model_type` that have a family."""
    return sorted(_FAMILIES)


def family_of(model: nn.Module) -> Family:
    """The family of a model.

    Raises:
        UnsupportedModelError: no family is registered for its `config.model_type`.
    """
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type not in _FAMILIES:
        base = "TokenFamily" if getattr(model, "main_input_name", None) == "input_ids" else "Family"
        raise UnsupportedModelError(
            f"No family is registered for {type(model).__name__} (config.model_type={model_type!r}), so it is not "
            f"known where to mix its samples. Registered: {', '.join(supported_model_types())}. To add it, subclass "
            f"`mixunlearn_hf.families.{base}` with `embedding_module` (the module whose output is mixed) and "
            f"`feature_module` (a middle layer), set `model_types = ({model_type!r},)` and decorate it with "
            "`@register_family`."
        )
    return _FAMILIES[model_type](model.config)

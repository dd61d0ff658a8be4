"""The registry of families, found from a model's class or its config."""

from torch import nn
from transformers.utils import logging

from ..classifier import bare, main_input
from ..errors import ConfigError, UnsupportedModelError
from .base import Family

logger = logging.get_logger(__name__)

_BY_TYPE: dict[str, type[Family]] = {}
_BY_CLASS: dict[type[nn.Module], type[Family]] = {}
_BY_INPUT: dict[str, type[Family]] = {}


def register_family(family: type[Family]) -> type[Family]:
    """Register a family for its `model_types` and `model_classes`; usable as a decorator. A later one wins.

    Raises:
        ConfigError: it has neither.
    """
    if not (family.model_types or family.model_classes):
        raise ConfigError(
            f"{family.__name__} names no models. Set `model_classes`, or `model_types` as in `config.model_type`."
        )
    _BY_TYPE.update(dict.fromkeys(family.model_types, family))
    _BY_CLASS.update(dict.fromkeys(family.model_classes, family))
    return family


def try_family(main_input: str, family: type[Family]) -> None:
    """Try a family on models of transformers with a main input that have no family of their own."""
    _BY_INPUT[main_input] = family


def registered_families() -> dict[str, type[Family]]:
    """The family of every `config.model_type` that has one."""
    return dict(sorted(_BY_TYPE.items()))


def family_of(model: nn.Module) -> Family:
    """The family of a model.

    A model of a type without one gets the family that is tried on its input, if that finds what it looks for.

    Raises:
        UnsupportedModelError: none is registered for its class, its bases or its `config.model_type`.
    """
    model = bare(model)
    for model_class in type(model).__mro__:
        if model_class in _BY_CLASS:
            return _BY_CLASS[model_class](model)
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type in _BY_TYPE:
        return _BY_TYPE[model_type](model)
    name = type(model).__name__
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"{name} is an encoder-decoder, which embeds its input twice. Such models are not supported."
        )
    if model_type is not None and main_input(model) in _BY_INPUT:
        family = _BY_INPUT[main_input(model)](model)
        try:
            family.embedding_module(model), family.layers(model)
        except (UnsupportedModelError, AttributeError, NotImplementedError):
            pass
        else:
            logger.warning(
                f"No family is registered for {name} (config.model_type={model_type!r}); {type(family).__name__} is "
                "tried. Before anything is trained, it is checked that mixing works where it says."
            )
            return family
    base, key = "Family", f"model_classes = ({name},)"
    if model_type is not None:
        key = f"model_types = ({model_type!r},)"
        base = {"input_ids": "TokenFamily", "input_values": "SequenceFamily"}.get(main_input(model), base)
    raise UnsupportedModelError(
        f"No family is registered for {name} (config.model_type={model_type!r}), so it is not known where to mix its "
        f"samples. Registered: {', '.join(registered_families())}. To add it, subclass "
        f"`mixunlearn_hf.families.{base}` with `embedding_module` (the module whose output is mixed), `layers` (those "
        f"that features can come from) and, if need be, `features`; set `{key}` and decorate it with "
        "`@register_family`. docs/models.md shows one."
    )

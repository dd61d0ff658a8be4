"""timm models without torchvision.

timm imports torchvision for its image pipeline, transformers asks for it too, and the wheels of torchvision on PyPI do
not load beside a torch built for CPUs. The models need nothing of it, so where torchvision is missing, stand-ins are
there while timm is imported.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
from torch import nn
from transformers.utils import import_utils, is_timm_available

_PARTS = ("", *(".datasets", ".transforms", ".transforms.functional", ".transforms.v2", ".transforms.v2.functional"))
_PARTS += (".ops", ".ops.misc", ".models", ".models.feature_extraction")


class _FrozenBatchNorm2d(nn.Module):
    """In place of torchvision's: timm asks whether layers are of this class."""


def timm_wrapper() -> Any:
    """`transformers.models.timm_wrapper`'s module with models; the test is skipped where timm is not installed."""
    name = "transformers.models.timm_wrapper.modeling_timm_wrapper"
    if name in sys.modules or is_timm_available():
        return importlib.import_module(name)
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    parts: dict[str, ModuleType] = {f"torchvision{part}": MagicMock(__path__=[], __spec__=None) for part in _PARTS}
    parts["torchvision.ops.misc"].FrozenBatchNorm2d = _FrozenBatchNorm2d  # type: ignore[attr-defined]
    import_utils.BACKENDS_MAPPING["timm"] = (lambda: True, "")
    with (
        patch.dict(sys.modules, parts),
        patch("transformers.utils.is_timm_available", lambda: True),
        patch("transformers.utils.import_utils.is_timm_available", lambda: True),
    ):
        import timm  # noqa: F401  patch.dict takes what is imported inside out again

        kept = {module: one for module, one in sys.modules.items() if module.split(".")[0] == "timm"}
        wrapper = importlib.import_module(name)
    sys.modules.update({**kept, name: wrapper})
    return wrapper

"""Which rows have a say in the statistics of batch norm."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in model.modules())


@contextmanager
def frozen_batch_norm(model: nn.Module) -> Iterator[None]:
    """Inside, batch norm layers normalise by their running statistics and leave them as they are."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    for layer in layers:
        layer.eval()  # requires_grad_(False) would not stop the statistics
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


@contextmanager
def untracked_batch_norm(model: nn.Module) -> Iterator[None]:
    """Inside, batch norm layers normalise by the batch, and leave their running statistics as they are."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True

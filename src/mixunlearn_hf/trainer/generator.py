"""MixBlock with its optimizer, kept apart from the unlearner's."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import ConfigError
from ..mixblock import MixBlock

_WEIGHTS, _OPTIMIZER = "generator.safetensors", "generator_optimizer.pt"


class Generator:
    """MixBlock and its Adam optimizer. Its gradients never touch the unlearner's: they are asked for by name.

    It is a plain module that accelerate does not prepare, since a second prepared optimizer would share the
    unlearner's gradient scaler and its step.
    """

    def __init__(self, channels: int, learning_rate: float, device: torch.device) -> None:
        self.mixblock = MixBlock(channels).to(device)
        self.optimizer = torch.optim.Adam(self.mixblock.parameters(), lr=learning_rate)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return list(self.mixblock.parameters())

    def accumulate(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to MixBlock's, and to nothing else's."""
        for parameter, gradient in zip(
            self.parameters, torch.autograd.grad(loss, self.parameters, materialize_grads=True), strict=True
        ):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def step(self, accelerator: Any) -> None:
        """One step of Adam on the mean of the gradients of all processes."""
        for parameter in self.parameters:
            parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, folder: str) -> None:
        save_file(self.mixblock.state_dict(), os.path.join(folder, _WEIGHTS))
        torch.save(self.optimizer.state_dict(), os.path.join(folder, _OPTIMIZER))

    def load(self, folder: str) -> None:
        missing = [name for name in (_WEIGHTS, _OPTIMIZER) if not os.path.exists(os.path.join(folder, name))]
        if missing:
            raise ConfigError(
                f"The checkpoint {folder!r} has no {' and no '.join(missing)}: it was written with "
                "`save_only_model=True` or another `generator`. Continue with the settings of then, or start anew."
            )
        self.mixblock.load_state_dict(load_file(os.path.join(folder, _WEIGHTS)))
        state = torch.load(os.path.join(folder, _OPTIMIZER), map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(state)  # moves it to where the weights are

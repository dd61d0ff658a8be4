r"""MixBlock, the generator: two-way cross attention that says where the forget and where the retain sample shows."""

import math

import torch
from torch import Tensor, nn

_RESIZE_MODE = {1: "linear", 2: "bilinear"}  # sequences and maps


class MixBlock(nn.Module):
    r"""Mask for a pair of samples from their features and their mixing weight (section 4.2, eq. 2).

    With `f` and `r` the two feature maps, positions flattened, and `lam` (for `f`) or `1 - lam` (for `r`) as one more
    channel:

    1. `query = ReLU(W_q x)`, `key = ReLU(W_k x)`, both `C/2` channels, weights shared by the sides; `value = W_v x`,
       one channel;
    2. logit of the forget side `softmax(q_f k_r^T / sqrt(C/2)) v_f`, of the retain side
       `softmax(q_r k_f^T / sqrt(C/2)) v_r` (the value comes from the same sample as the query, as in the published
       code);
    3. both are resized to the positions of the embedding; a softmax over the two gives `M` and `1 - M`.

    Weights start normal with std 0.01 and biases at 0, so that training starts near `M = 1/2`. Everything is computed
    in float32 under any autocast.

    Args:
        channels (`int`): channels `C` of the features. 256 channels make 66,306 parameters, the paper's "66K".
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.width = max(channels // 2, 1)
        self.query = nn.Linear(channels + 1, self.width)
        self.key = nn.Linear(channels + 1, self.width)
        self.value = nn.Linear(channels + 1, 1)
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        forget_features: Tensor,
        retain_features: Tensor,
        lam: float | Tensor,
        size: tuple[int, ...] | None = None,
        both_present: Tensor | None = None,
    ) -> Tensor:
        """The weight of the forget sample at every position.

        Args:
            forget_features, retain_features (`Tensor` of shape `(B, C, *positions)`): maps or sequences.
            lam (`float` or `Tensor` of shape `(B,)`): weight of the forget sample.
            size (`tuple[int, ...]`): positions of the embedding; those of the features by default.
            both_present (`Tensor` of shape `(B, *positions)`, bool): positions where both samples have content. The
                others (padding) are not attended to.

        Returns:
            `Tensor` of shape `(B, *size)` in [0, 1]: `M`. The retain sample has weight `1 - M`.
        """
        with torch.autocast(device_type=forget_features.device.type, enabled=False):
            positions = forget_features.shape[2:]
            lam = torch.as_tensor(lam, dtype=torch.float32, device=forget_features.device)
            forget = self._with_weight(forget_features, lam)  # (B, P, C + 1)
            retain = self._with_weight(retain_features, 1 - lam)
            absent = None if both_present is None else ~both_present.flatten(1)[:, None]  # (B, 1, P)
            logits = torch.stack([self._logit(forget, retain, absent), self._logit(retain, forget, absent)], 1)
            logits = logits.unflatten(-1, positions)  # (B, 2, *positions)
            if size is not None and tuple(size) != tuple(positions):
                mode = _RESIZE_MODE[len(positions)]
                logits = nn.functional.interpolate(logits, size=size, mode=mode, align_corners=False)
            return logits.softmax(1)[:, 0]

    def _with_weight(self, features: Tensor, weight: Tensor) -> Tensor:
        sequence = features.float().flatten(2).transpose(1, 2)  # (B, P, C)
        channel = weight.reshape(-1, 1, 1).expand(len(sequence), sequence.shape[1], 1)
        return torch.cat([sequence, channel], -1)

    def _logit(self, own: Tensor, other: Tensor, absent: Tensor | None) -> Tensor:
        scores = self.query(own).relu() @ self.key(other).relu().transpose(1, 2) / math.sqrt(self.width)  # (B, P, P)
        if absent is not None:
            scores = scores.masked_fill(absent, torch.finfo(scores.dtype).min)
        return (scores.softmax(-1) @ self.value(own)).squeeze(-1)  # (B, P)


def mix(forget: Tensor, retain: Tensor, mask: Tensor, channel_dim: int = 1) -> Tensor:
    """Mix two embeddings position by position (eq. 1): `M * e(x_i) + (1 - M) * e(x_j)`.

    Args:
        forget, retain (`Tensor` of shape `(B, C, *positions)`, or `(B, *positions, C)` with `channel_dim=-1`).
        mask (`Tensor` of shape `(B, *positions)`): weight of the forget embedding. A map `(B, H, W)` also serves a
            sequence of `H * W` positions.
    """
    shape = list(forget.shape)
    shape[channel_dim] = 1
    mask = mask.to(forget.dtype).reshape(shape)
    return mask * forget + (1 - mask) * retain

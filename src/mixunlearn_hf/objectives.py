r"""The objectives of MixUnlearn as pure functions (Peng et al., ICLR 2025, arXiv 2502.10288).

All of them work on probability vectors and are computed in float32, whatever the autocast setting around them. Losses
are the mean over the retain batch; the paper prints the sum. A loss that does not scale with the batch size keeps its
meaning when the last batch is not full.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def _in_float32(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Run `function` on float32 copies of its tensors, outside any autocast."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device_type=device, enabled=False):
            return function(*map(_to_float32, args), **{name: _to_float32(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return wrapper


def _to_float32(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@_in_float32
def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    r"""Sharpen a distribution (eq. 4).

    .. math:: S(q)_c = \frac{q_c^{1/T}}{\sum_k q_k^{1/T}}

    `T = 1` leaves it as it is, `T -> 0` gives the one-hot vector of its largest entry, `T -> inf` the uniform one.
    Computed from logarithms, so that no power underflows.

    Args:
        probabilities (`Tensor` of shape `(..., C)`): distributions over the last dimension.
        temperature (`float`): `T > 0`; 0.3 in the published code.
    """
    smallest = torch.finfo(probabilities.dtype).tiny
    return torch.softmax(probabilities.clamp_min(smallest).log() / temperature, dim=-1)


@_in_float32
def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """SimLoss of the paper, `1 - cos(first, second)`, one value a row: 0 for equal directions, 1 for disjoint
    supports.

    Args:
        first, second (`Tensor` of shape `(B, C)`): probability vectors.
    """
    return 1 - torch.nn.functional.cosine_similarity(first, second, dim=-1)


@_in_float32
def contrast(keep: Tensor, forget: Tensor, temperature: float) -> Tensor:
    r"""Draw a batch towards one set of targets and away from another (the shape of eqs. 3, 5 and 6).

    .. math:: L = \frac1B \sum_j \log \frac{\exp(keep_j)}{\sum_i \exp(forget_i / \tau)}

    The denominator is shared by the batch, so the closed form is `mean(keep) - logsumexp(forget / tau)`. It stays
    finite at every temperature, where the printed form overflows.

    Args:
        keep (`Tensor` of shape `(B,)`): distances to shrink.
        forget (`Tensor` of shape `(B,)`): distances to grow.
        temperature (`float`): `tau > 0`, on the forget term only. As `tau -> 0` all gradient goes to the sample
            already
            farthest from its target; as it grows the push fades evenly and only the pull is left.
    """
    return keep.mean() - torch.logsumexp(forget / temperature, dim=0)


def mix_loss(
    mixed: Tensor,
    forget_targets: Tensor,
    retain_targets: Tensor,
    lam: float | Tensor,
    temperature: float,
    floor: Tensor | None = None,
) -> Tensor:
    r"""What the unlearner minimises on mixed samples (eq. 5, the negative of eq. 3).

    Draws every mixture towards its retain target with weight `1 - lam` and away from its forget target with weight
    `lam`. The paper prints the outer sum over the forget batch; it runs over the retain batch, as in eq. 3 and the
    published code.

    Args:
        mixed (`Tensor` of shape `(B, C)`): the unlearner's probabilities on the mixed samples.
        forget_targets, retain_targets (`Tensor` of shape `(B, C)`): targets of the two samples of each mixture.
        lam (`float` or `Tensor` of shape `(B,)`): weight of the **forget** sample, in [0, 1].
        temperature (`float`): `tau_mix > 0`.
        floor (`Tensor` of shape `(B,)`): no forget sample is pushed beyond this distance; not in the paper.
    """
    keep, forget = cosine_distance(mixed, retain_targets), cosine_distance(mixed, forget_targets)
    return contrast((1 - lam) * keep, lam * _up_to(floor, forget), temperature)


def generator_loss(
    mixed: Tensor, forget_targets: Tensor, retain_targets: Tensor, lam: float | Tensor, temperature: float
) -> Tensor:
    """What MixBlock minimises (eq. 3): mixtures that lose the retain sample and reveal the forget sample.

    Arguments as in [`mix_loss`], with `tau_gen` for the temperature.
    """
    return -mix_loss(mixed, forget_targets, retain_targets, lam, temperature)


def real_loss(
    forget: Tensor,
    retain: Tensor,
    forget_targets: Tensor,
    retain_targets: Tensor,
    temperature: float,
    floor: Tensor | None = None,
) -> Tensor:
    """What the unlearner minimises on real samples (eq. 6): retain samples drawn to their targets, forget samples
    pushed away.

    Args:
        forget, retain (`Tensor` of shape `(B, C)`): the unlearner's probabilities on forget and retain samples.
        forget_targets, retain_targets (`Tensor` of shape `(B, C)`): their targets.
        temperature (`float`): `tau_real > 0`.
        floor (`Tensor` of shape `(B,)`): no forget sample is pushed beyond this distance; not in the paper.
    """
    forget_distances = _up_to(floor, cosine_distance(forget, forget_targets))
    return contrast(cosine_distance(retain, retain_targets), forget_distances, temperature)


def _up_to(floor: Tensor | None, distances: Tensor) -> Tensor:
    return distances if floor is None else torch.minimum(distances, floor)

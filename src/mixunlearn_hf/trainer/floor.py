"""How far to push rows of classes that stay.

A model retrained without some rows of a class treats them as it treats unseen rows of that class. The published
objective does not stop there: run long enough, it drives their accuracy to 0. So each forgotten row gets a floor, the
distance from its target that an unseen row of its class and rank has under the original model, and is not pushed
beyond it.
"""

import torch
from torch import Tensor

STAYS = 0.2
"""A class stays if the retain set holds at least this many rows of it for each row in the forget set. Not 0: without
labels, some retain rows are predicted to be of the forgotten class."""


def stays(forget_classes: Tensor, retain_counts: Tensor) -> Tensor:
    """Which forget rows belong to a class that stays, bool of shape `(N_f,)`.

    Args:
        forget_classes (`Tensor` of shape `(N_f,)`): class of each forget row.
        retain_counts (`Tensor` of shape `(C,)`): rows of each class in the retain set.
    """
    forget_counts = torch.bincount(forget_classes, minlength=len(retain_counts))
    return (retain_counts >= STAYS * forget_counts)[forget_classes]


def distance_floor(
    forget_distances: Tensor, forget_classes: Tensor, unseen_distances: Tensor, unseen_classes: Tensor
) -> Tensor:
    """The distance of the unseen row of the same class and the same rank, for each forget row, `(N_f,)`.

    Moved to their floors, the forget rows of a class are distributed like its unseen rows. A class without unseen rows
    takes those of all classes.

    Args:
        forget_distances, unseen_distances (`Tensor` of shape `(N,)`): the original model's distances from the targets.
        forget_classes, unseen_classes (`Tensor` of shape `(N,)`): their classes.
    """
    floor = torch.empty_like(forget_distances)
    for label in forget_classes.unique():
        rows = forget_classes == label
        unseen = unseen_distances[unseen_classes == label]
        rank = (forget_distances[rows].argsort().argsort() + 0.5) / rows.sum()
        floor[rows] = torch.quantile(unseen if len(unseen) else unseen_distances, rank)
    return floor


def without_classes(targets: Tensor, classes: list[int]) -> Tensor:
    """Targets of retain rows in which the classes that go have no share; the others take it in their proportion.

    The original takes some retain rows for a class that goes, and a retrained model cannot. A row with nothing but
    such classes keeps its target: that is its label.

    Args:
        targets (`Tensor` of shape `(B, C)`): distributions over the classes.
    """
    others = targets.clone()
    others[:, classes] = 0
    share = others.sum(-1, keepdim=True)
    return torch.where(share > 0, others / share.clamp_min(torch.finfo(share.dtype).tiny), targets)

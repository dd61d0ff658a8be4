"""The nearest of many vectors, exactly and block by block."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 4096  # vectors compared at once; memory is this times the rows of a batch, in float32


@dataclass(frozen=True)
class Nearest:
    """What each row of a batch is nearest to.

    Attributes:
        index (`np.ndarray` of shape `(B,)`): number of the nearest vector or text, -1 where none is near enough.
        distance (`np.ndarray` of shape `(B,)`): its distance, infinite where none is near enough.
        near (`np.ndarray`): numbers of all those that are near enough to some row of the batch.
    """

    index: np.ndarray
    distance: np.ndarray
    near: np.ndarray


@torch.no_grad()
def most_similar(rows: Tensor, blocks: Iterable[Tensor], least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest dot product of each row with the vectors of all blocks.

    Args:
        rows (`Tensor` of shape `(B, D)`): vectors to look up.
        blocks (tensors of shape `(M, D)`): vectors to look among, numbered through.
        least (`float`): dot product from which a vector is near enough.

    Returns:
        index (`(B,)`, -1 where no vector is near enough), dot product (`(B,)`), and the numbers of all vectors that
        are near enough to some row.
    """
    best = torch.full((len(rows),), -torch.inf, device=rows.device)
    index = torch.full((len(rows),), -1, dtype=torch.int64, device=rows.device)
    near, first = [np.empty(0, dtype=np.int64)], 0
    for block in blocks:
        similarity = rows @ block.T  # (B, M)
        highest, where = similarity.max(dim=1)
        better = highest > best
        best, index = torch.where(better, highest, best), torch.where(better, where + first, index)
        if bool((highest >= least).any()):
            near.append(first + (similarity >= least).any(dim=0).nonzero()[:, 0].cpu().numpy())
        first += len(block)
    index[best < least] = -1
    return index.cpu().numpy(), best.cpu().double().numpy(), np.concatenate(near)

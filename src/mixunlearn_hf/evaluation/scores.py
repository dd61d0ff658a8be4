"""Scores of classifications, from logits and labels."""

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import mannwhitneyu

from ..errors import DataError


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose largest logit is that of their label.

    Args:
        logits (`np.ndarray` of shape `(N, C)`), labels (`np.ndarray` of shape `(N,)`): `N > 0` rows.

    Example:
        >>> accuracy(np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), np.array([0, 1, 1]))
        0.6666666666666666
    """
    _require_rows(len(labels))
    return float((logits.argmax(-1) == labels).mean())


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Loss of each row, `(N,)` in float64: `logsumexp(z) - z_y`, computed without forming probabilities.

    Example:
        >>> cross_entropy(np.array([[0.0, 0.0]]), np.array([1])).round(4)
        array([0.6931])
    """
    wide = logits.astype(np.float64)
    return logsumexp(wide, axis=-1) - wide[np.arange(len(labels)), labels]


def membership_auc(
    member_losses: np.ndarray, member_classes: np.ndarray, unseen_losses: np.ndarray, unseen_classes: np.ndarray
) -> tuple[float, float]:
    """How well the loss tells rows a model was trained on from unseen rows of their class: area under the ROC curve.

    0.5 is chance: by its loss, the model treats both alike, and there is nothing that this attack can see. Above, it
    fits the rows it was trained on better. The attack is that of Yeom et al. 2018 (arXiv 1709.01604) over all
    thresholds; classes, which differ in how hard they are, are compared one by one and weighed by their member rows.

    Args:
        member_losses, unseen_losses (`np.ndarray` of shape `(N,)`): losses of the rows.
        member_classes, unseen_classes (`np.ndarray` of shape `(N,)`): their classes. Classes without rows on either
            side are left out.

    Returns:
        The AUC, and its standard deviation if both sides were alike, `sqrt((m + n + 1) / (12 m n))` for `m` and `n`
        rows of one class.

    Raises:
        DataError: there is no class with rows on both sides.

    Example:
        >>> zeros = np.zeros(2, dtype=int)
        >>> membership_auc(np.array([0.1, 0.2]), zeros, np.array([0.3, 0.4]), zeros)[0]
        1.0
    """
    weights, values, variances = [], [], []
    for label in np.intersect1d(member_classes, unseen_classes):
        members, unseen = member_losses[member_classes == label], unseen_losses[unseen_classes == label]
        m, n = len(members), len(unseen)
        weights.append(m)
        values.append(mannwhitneyu(unseen, members).statistic / (m * n))
        variances.append((m + n + 1) / (12 * m * n))
    _require_rows(len(weights))
    share = np.asarray(weights) / sum(weights)
    return float(share @ values), math.sqrt(share**2 @ variances)


def _require_rows(count: int) -> None:
    if count == 0:
        raise DataError("A score of no rows was asked for. Pass at least one row with a label.")

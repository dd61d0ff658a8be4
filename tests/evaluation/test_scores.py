"""Scores against known answers and slow oracles."""

import doctest
import math

import numpy as np
import pytest

from mixunlearn_hf.data.rows import NO_LABEL
from mixunlearn_hf.errors import DataError
from mixunlearn_hf.evaluation import scores
from mixunlearn_hf.evaluation.measure import Outputs, memorisation, scores_of
from mixunlearn_hf.evaluation.scores import accuracy, cross_entropy, membership_auc


def test_the_examples_are_true() -> None:
    assert doctest.testmod(scores).failed == 0


def test_cross_entropy_is_minus_the_log_of_the_probability() -> None:
    logits, labels = np.random.default_rng(0).normal(size=(50, 7)), np.arange(50) % 7
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = [-math.log(row[label]) for row, label in zip(probability, labels, strict=True)]
    assert cross_entropy(logits, labels) == pytest.approx(expected)


def test_cross_entropy_of_half_precision_and_of_great_logits_is_finite() -> None:
    assert cross_entropy(np.array([[6e4, -6e4]], dtype=np.float16), np.array([1])) == pytest.approx(
        [119_936], rel=1e-2
    )
    assert cross_entropy(np.array([[1e30, 0.0]]), np.array([0])) == pytest.approx([0.0])


def test_auc_counts_pairs_of_one_class() -> None:
    """Ties count half; classes weigh as many as they have members."""
    rng = np.random.default_rng(1)
    member_classes, unseen_classes = rng.integers(0, 3, 40), rng.integers(0, 3, 30)
    members, unseen = rng.integers(0, 6, 40) / 2 + member_classes, rng.integers(1, 7, 30) / 2 + unseen_classes
    expected = 0.0
    for label in range(3):
        pairs = [
            (a, b)
            for a, one in zip(members, member_classes, strict=True)
            for b, other in zip(unseen, unseen_classes, strict=True)
            if one == other == label
        ]
        won = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
        expected += won * (member_classes == label).mean()
    assert membership_auc(members, member_classes, unseen, unseen_classes)[0] == pytest.approx(expected)


@pytest.mark.parametrize(("shift", "expected"), [(10.0, 1.0), (-10.0, 0.0), (None, 0.5)])
def test_auc_of_losses_that_lie_apart(shift: float | None, expected: float) -> None:
    zeros = np.zeros(20, dtype=int)
    losses = np.zeros(20) if shift is None else np.random.default_rng(0).random(20)
    assert membership_auc(losses, zeros, losses + (shift or 0.0), zeros)[0] == expected


def test_auc_of_one_distribution_stays_within_its_spread() -> None:
    rng, zeros, inside = np.random.default_rng(0), np.zeros(100, dtype=int), 0
    for _ in range(200):
        auc, deviation = membership_auc(rng.normal(size=100), zeros, rng.normal(size=100), zeros)
        inside += abs(auc - 0.5) < 2 * deviation
    assert deviation == pytest.approx(0.041, abs=5e-4)
    assert 0.90 < inside / 200 < 0.99


def test_a_class_that_is_harder_does_not_look_like_a_member() -> None:
    """Members are mostly of the easy class, unseen rows of the hard one; within a class they are alike."""
    rng = np.random.default_rng(0)
    member_classes, unseen_classes = (rng.random(2000) < 0.2).astype(int), (rng.random(2000) < 0.8).astype(int)
    members, unseen = rng.normal(size=2000) + 5 * member_classes, rng.normal(size=2000) + 5 * unseen_classes
    auc, deviation = membership_auc(members, member_classes, unseen, unseen_classes)
    assert abs(auc - 0.5) < 3 * deviation


def test_scores_of_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        accuracy(np.empty((0, 3)), np.empty(0, dtype=int))
    with pytest.raises(DataError, match="no rows"):
        membership_auc(np.ones(2), np.zeros(2), np.ones(2), np.ones(2))


def outputs(labels: list[int], predicted: list[int]) -> Outputs:
    return Outputs(np.eye(3)[predicted] * 4, np.asarray(labels))


def test_scores_leave_rows_without_a_label_out() -> None:
    measured = outputs([0, 1, NO_LABEL, 2], [0, 1, 0, 1]).scores()
    assert (measured["rows"], measured["accuracy"]) == (4, 2 / 3)
    assert outputs([NO_LABEL], [0]).scores() == {"rows": 1}


def test_unseen_rows_of_classes_that_go_are_scored_apart() -> None:
    sets = {"forget": outputs([0], [1]), "retain": outputs([1], [1]), "test": outputs([0, 0, 1], [1, 0, 1])}
    measured = scores_of(sets, going=[0])
    assert measured["test_forgotten"]["accuracy"] == 0.5 and measured["test_others"]["accuracy"] == 1.0
    assert set(scores_of(sets)) == set(sets)
    assert "test_forgotten" not in scores_of({"test": outputs([1], [1])}, going=[0])


def test_memorisation_compares_rows_of_the_same_classes() -> None:
    sure, unsure = np.eye(3)[[0, 0, 1]] * 9, np.eye(3)[[0, 0, 2]]
    known = memorisation(Outputs(sure, np.array([0, 0, 1])), Outputs(unsure, np.array([0, 0, 2])))
    assert known is not None and known["membership_auc"] == 1.0
    assert memorisation(outputs([1], [1]), outputs([2], [2])) is None


def test_rows_without_labels_are_compared_by_what_the_model_calls_them() -> None:
    nothing = np.full(3, NO_LABEL)
    known = memorisation(Outputs(np.eye(3) * 9, nothing), Outputs(np.eye(3), nothing))
    assert known is not None and known["membership_auc"] == 1.0

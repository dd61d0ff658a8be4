"""How far rows of classes that stay are pushed."""

import tiny
import torch

from mixunlearn_hf import objectives
from mixunlearn_hf.trainer.floor import distance_floor, stays
from mixunlearn_hf.trainer.mixunlearn import _Pairs


def test_a_class_stays_if_enough_of_it_is_retained() -> None:
    forget = torch.tensor([0] * 10 + [1] * 10 + [2])
    retain = torch.tensor([1, 15, 1, 40])  # class 0: one stray prediction
    assert stays(forget, retain).tolist() == [False] * 10 + [True] * 10 + [True]


def test_at_their_floors_forget_rows_are_distributed_like_unseen_rows_of_their_class() -> None:
    generator = torch.Generator().manual_seed(0)
    unseen, classes = torch.rand(2000, generator=generator) ** 2, torch.arange(2000) % 2
    unseen[classes == 1] += 1
    forget, forget_classes = torch.rand(500, generator=generator) / 10, torch.arange(500) % 2
    floor = distance_floor(forget, forget_classes, unseen, classes)
    for label in (0, 1):
        levels = torch.linspace(0.05, 0.95, 10)
        expected = torch.quantile(unseen[classes == label], levels)
        torch.testing.assert_close(torch.quantile(floor[forget_classes == label], levels), expected, atol=0.02, rtol=0)
    same = forget_classes == 0
    assert torch.equal(floor[same].argsort(), forget[same].argsort())  # ranks are kept


def test_a_class_without_unseen_rows_takes_those_of_all_classes() -> None:
    floor = distance_floor(torch.tensor([0.1]), torch.tensor([3]), torch.tensor([0.2, 0.4]), torch.tensor([0, 1]))
    torch.testing.assert_close(floor, torch.tensor([0.3]))


def test_a_row_at_its_floor_is_pushed_no_further() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    target = torch.eye(4)[:3]
    probabilities = logits.softmax(-1)
    distance = objectives.cosine_distance(probabilities, target).detach()
    floor = distance + torch.tensor([-0.01, 0.5, 0.5])  # the first row is beyond its own
    loss = objectives.real_loss(probabilities, target, target, target, 1.0, floor)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient[0], torch.zeros(4)) and (gradient[1:].abs().sum(-1) > 0).all()


def test_an_infinite_floor_is_none_at_all() -> None:
    mixed, forget, retain = torch.rand(3, 5, 4).softmax(-1)
    for lam in (0.0, 0.3, 1.0):
        floor = torch.full((5,), torch.inf)
        assert torch.equal(
            objectives.mix_loss(mixed, forget, retain, lam, 0.5),
            objectives.mix_loss(mixed, forget, retain, lam, 0.5, floor),
        )


def test_a_pair_of_one_class_is_not_pushed_from_the_target_it_is_pulled_to() -> None:
    eye = torch.eye(tiny.CLASSES)
    empty = torch.zeros(3, 0)
    pairs = _Pairs({}, {}, eye[[0, 1, 2]], eye[[0, 2, 1]], torch.tensor([0.5, 0.6, torch.inf]), empty, empty)
    assert pairs.mixed_floor().tolist() == [0.0, torch.tensor(0.6).item(), torch.inf]

"""How far rows of classes that stay are pushed."""

from typing import Any

import tiny
import torch

from mixunlearn_hf import objectives
from mixunlearn_hf.trainer.floor import distance_floor, stays, without_classes
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


def predicted_classes(tmp_path: Any, **settings: Any) -> Any:
    """A request without labels: 8 forget rows of a predicted class that goes, 2 of one that stays."""
    model, pool = tiny.build("resnet"), tiny.rows("resnet", 400, seed=5)
    with torch.no_grad():
        classes = model(pixel_values=torch.tensor(pool["pixel_values"])).logits.argmax(-1)
    goes, remains = classes.bincount().argsort(descending=True)[:2].tolist()
    of = {label: torch.nonzero(classes == label)[:, 0].tolist() for label in (goes, remains)}
    forget, retain = pool.select([*of[goes][:8], *of[remains][:2]]), pool.select(of[remains][2:12])
    return tiny.trainer(
        tmp_path, "resnet", model=model, forget=forget, retain=retain, label_mode="agnostic", **settings
    )


def test_rows_that_look_like_a_class_that_stays_are_left_there(tmp_path: Any) -> None:
    """Without labels, a row of the class that goes may be taken for another, by a retrained model too."""
    trainer = predicted_classes(tmp_path)
    trainer._plan()
    assert trainer.train_dataset.forget_values["floor"].tolist() == [torch.inf] * 8 + [0.0] * 2
    assert trainer.temperature == 1.0


def test_nothing_is_pushed_from_a_target_at_a_floor_of_0() -> None:
    logits, target = torch.randn(2, 4, requires_grad=True), torch.eye(4)[:2]
    loss = objectives.real_loss(logits.softmax(-1), target, target, target, 1.0, torch.zeros(2))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient, torch.zeros(2, 4))


def test_retain_rows_are_not_drawn_to_a_class_that_goes(tmp_path: Any) -> None:
    predicted = torch.tensor([[0.6, 0.3, 0.1, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.0, 0.75, 0.25, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(without_classes(predicted, [0]), expected)
    sharpened = without_classes(objectives.sharpen(predicted, 0.3), [0])
    torch.testing.assert_close(sharpened[0], objectives.sharpen(expected[0], 0.3))

    trainer = predicted_classes(tmp_path, max_steps=2)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    loss = trainer.unlearning_loss
    trainer.unlearning_loss = lambda model, forget, retain: (
        seen.append((forget["target"], retain["target"])) or loss(model, forget, retain)
    )
    trainer.train()
    assert trainer._gone
    for forget, retain in seen:
        assert forget[:, trainer._gone].sum() > 0 and retain[:, trainer._gone].sum() == 0

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mixunlearn_hf.objectives import contrast, cosine_distance, generator_loss, mix_loss, real_loss, sharpen

GOLDEN = json.loads((Path(__file__).parent / "golden" / "objectives.json").read_text(encoding="utf-8"))["cases"]
golden = pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"batch{case['batch']}-lam{case['lam']}")
settings = [
    pytest.mark.parametrize("batch", [1, 2, 7]),
    pytest.mark.parametrize("temperature", [0.2, 1.0, 20.0]),
]


def close(ours: Tensor, expected: Any, tolerance: float = 1e-5) -> None:
    expected = torch.as_tensor(expected).to(ours.dtype)
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def distributions(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    logits = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.softmax(spread * logits, -1)


def batch_of(batch: int, classes: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs for two kinds of samples, forget targets and retain targets; float64."""
    first, second, forget_targets, retain_targets = (distributions(batch, classes, seed=seed) for seed in range(4))
    return first, second, forget_targets, retain_targets


def value_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """The value of `function` and its gradients by every input."""
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    result = function(*leaves)
    return (result.detach(), *torch.autograd.grad(result, leaves))


# ---- the oracle: the printed formulas, a term at a time ----


def printed_distance(a: Tensor, b: Tensor) -> Tensor:
    """S(a, b) of two vectors."""
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (sum(a * a) ** 0.5 * sum(b * b) ** 0.5)


def printed_l_gen(mixed: Tensor, forget_targets: Tensor, retain_targets: Tensor, lam: Any, tau: float) -> Tensor:
    """Equation 3."""
    batch = range(len(mixed))
    lam = torch.as_tensor(lam, dtype=torch.float64).expand(len(mixed))
    total = torch.zeros((), dtype=torch.float64)
    for j in batch:
        numerator = torch.exp((1 - lam[j]) * printed_distance(mixed[j], retain_targets[j]))
        denominator = sum(torch.exp(lam[i] * printed_distance(mixed[i], forget_targets[i]) / tau) for i in batch)
        total = total + torch.log(numerator / denominator)
    return -total


def printed_l_mix(mixed: Tensor, forget_targets: Tensor, retain_targets: Tensor, lam: Any, tau: float) -> Tensor:
    """Equation 5."""
    return -printed_l_gen(mixed, forget_targets, retain_targets, lam, tau)


def printed_l_real(
    forget: Tensor, retain: Tensor, forget_targets: Tensor, retain_targets: Tensor, tau: float
) -> Tensor:
    """Equation 6."""
    total = torch.zeros((), dtype=torch.float64)
    for j in range(len(retain)):
        numerator = torch.exp(printed_distance(retain[j], retain_targets[j]))
        denominator = sum(torch.exp(printed_distance(forget[i], forget_targets[i]) / tau) for i in range(len(forget)))
        total = total + torch.log(numerator / denominator)
    return total


def agrees_with_oracle(ours: Callable[..., Tensor], printed: Callable[..., Tensor], *inputs: Tensor) -> None:
    results = value_and_gradients(ours, *inputs)
    expected = value_and_gradients(printed, *inputs)
    for result, summed in zip(results, expected, strict=True):
        close(result.double(), summed / len(inputs[0]))


# ---- golden values ----


@golden
def test_golden_losses_are_the_sums_of_our_means(case: dict[str, Any]) -> None:
    mixed, forget_targets, retain_targets, forget, retain = (
        torch.tensor(case[name])
        for name in (
            "mixed_probabilities",
            "forget_targets",
            "retain_targets",
            "unlearner_forget_probabilities",
            "unlearner_retain_probabilities",
        )
    )
    weights = {"lam": case["lam"], "temperature": case["temperature"]}
    close(mix_loss(mixed, forget_targets, retain_targets, **weights), case["loss_mix_sum"] / case["batch"])
    close(generator_loss(mixed, forget_targets, retain_targets, **weights), case["loss_gen_sum"] / case["batch"])
    ours = real_loss(forget, retain, forget_targets, retain_targets, case["temperature"])
    close(ours, case["loss_real_sum"] / case["batch"])


@golden
def test_golden_gradient_reaches_the_mixed_probabilities(case: dict[str, Any]) -> None:
    targets = torch.tensor(case["forget_targets"]), torch.tensor(case["retain_targets"])
    _, gradient = value_and_gradients(
        lambda mixed: mix_loss(mixed, *targets, case["lam"], case["temperature"]),
        torch.tensor(case["mixed_probabilities"]),
    )
    close(gradient * case["batch"], case["grad_loss_mix_wrt_mixed_probabilities"])


@golden
@pytest.mark.parametrize("side", ["forget", "retain"])
def test_golden_targets_are_the_sharpened_predictions(case: dict[str, Any], side: str) -> None:
    predicted = torch.tensor(case[f"original_{side}_logits"]).softmax(-1)
    close(sharpen(predicted, case["sharpen_temperature"]), case[f"{side}_targets"])


# ---- the printed formulas ----


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@settings[0]
@settings[1]
def test_mix_and_generator_loss_are_the_printed_formulas(batch: int, temperature: float, lam: float) -> None:
    mixed, _, forget_targets, retain_targets = batch_of(batch)
    for ours, printed in ((mix_loss, printed_l_mix), (generator_loss, printed_l_gen)):
        agrees_with_oracle(
            lambda *inputs, ours=ours: ours(*inputs, lam, temperature),
            lambda *inputs, printed=printed: printed(*inputs, lam, temperature),
            *(mixed, forget_targets, retain_targets),
        )


@settings[0]
@settings[1]
def test_real_loss_is_the_printed_formula(batch: int, temperature: float) -> None:
    agrees_with_oracle(
        lambda *inputs: real_loss(*inputs, temperature),
        lambda *inputs: printed_l_real(*inputs, temperature),
        *batch_of(batch),
    )


def test_lam_of_a_row_belongs_to_that_row() -> None:
    mixed, _, forget_targets, retain_targets = batch_of(4)
    lam = torch.tensor([0.1, 0.4, 0.9, 0.6], dtype=torch.float64)
    agrees_with_oracle(
        lambda *inputs: mix_loss(*inputs, lam, 0.5),
        lambda *inputs: printed_l_mix(*inputs, lam, 0.5),
        *(mixed, forget_targets, retain_targets),
    )


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_lam_per_row_equals_lam_scalar(lam: float) -> None:
    mixed, _, forget_targets, retain_targets = batch_of(4)
    rows = torch.full((4,), lam)
    close(
        mix_loss(mixed, forget_targets, retain_targets, rows, 0.5),
        mix_loss(mixed, forget_targets, retain_targets, lam, 0.5),
    )


def test_lam_is_the_weight_of_the_forget_sample() -> None:
    mixed, other, forget_targets, retain_targets = batch_of(4)
    all_forget = mix_loss(mixed, forget_targets, retain_targets, 1.0, 0.5)
    assert torch.equal(all_forget, mix_loss(mixed, forget_targets, other, 1.0, 0.5))
    assert not torch.equal(all_forget, mix_loss(mixed, other, retain_targets, 1.0, 0.5))
    all_retain = mix_loss(mixed, forget_targets, retain_targets, 0.0, 0.5)
    assert torch.equal(all_retain, mix_loss(mixed, other, retain_targets, 0.0, 0.5))
    assert not torch.equal(all_retain, mix_loss(mixed, forget_targets, other, 0.0, 0.5))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 20.0])
def test_generator_loss_is_the_negative_of_mix_loss(temperature: float) -> None:
    mixed, _, forget_targets, retain_targets = batch_of(6)
    arguments = (mixed, forget_targets, retain_targets, 0.3, temperature)
    assert torch.equal(generator_loss(*arguments), -mix_loss(*arguments))


def test_minimising_real_loss_keeps_retain_and_loses_forget_samples() -> None:
    """Guards the sign of both terms."""
    forget, retain, forget_targets, retain_targets = batch_of(4)
    _, forget_gradient, retain_gradient = value_and_gradients(
        lambda a, b: real_loss(a, b, forget_targets, retain_targets, 1.0), forget, retain
    )
    assert (
        cosine_distance(forget - 0.01 * forget_gradient, forget_targets) > cosine_distance(forget, forget_targets)
    ).all()
    assert (
        cosine_distance(retain - 0.01 * retain_gradient, retain_targets) < cosine_distance(retain, retain_targets)
    ).all()


def test_loss_does_not_grow_with_the_retain_batch() -> None:
    keep, forget = torch.tensor([0.2, 0.6]), torch.tensor([0.5])
    close(contrast(keep.repeat(10), forget, 1.0), contrast(keep, forget, 1.0))


# ---- the floor ----


def of_both_losses(floor: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The two losses that take a floor, added, as a function of the probabilities on forget samples."""
    _, retain, forget_targets, retain_targets = batch_of(4)
    targets = (forget_targets, retain_targets)
    return lambda forget: mix_loss(forget, *targets, 1.0, 0.5, floor) + real_loss(forget, retain, *targets, 0.5, floor)


def test_floor_ends_the_push_only_where_it_is_reached() -> None:
    forget, _, forget_targets, _ = batch_of(4)
    distances = cosine_distance(forget, forget_targets)
    reached = torch.tensor([True, False, True, False])
    _, gradient = value_and_gradients(of_both_losses(torch.where(reached, distances - 0.01, distances + 0.01)), forget)
    assert torch.equal(gradient.abs().sum(-1) > 0, ~reached)


def test_floor_above_every_distance_changes_nothing() -> None:
    forget = batch_of(4)[0]
    with_floor = value_and_gradients(of_both_losses(torch.full((4,), 2.0)), forget)
    for ours, expected in zip(with_floor, value_and_gradients(of_both_losses(None), forget), strict=True):
        assert torch.equal(ours, expected)


# ---- numbers ----


def test_stays_finite_where_the_printed_form_overflows() -> None:
    forget, retain, forget_targets, retain_targets = batch_of(4)
    printed = printed_l_real(forget, retain, forget_targets, retain_targets, 1e-3)
    results = value_and_gradients(
        lambda *inputs: real_loss(*inputs, 1e-3), forget, retain, forget_targets, retain_targets
    )
    assert not torch.isfinite(printed)
    assert all(torch.isfinite(result).all() for result in results)
    keep, pushed = cosine_distance(retain, retain_targets), cosine_distance(forget, forget_targets)
    close(results[0], (keep.mean() - pushed.max() / 1e-3).double(), 1e-3)  # all the others vanish in the sum


def on_bfloat16(name: str, *rows: Tensor) -> Tensor:
    first, second, forget_targets, retain_targets = rows
    return {
        "sharpen": lambda: sharpen(first, 0.3),
        "cosine_distance": lambda: cosine_distance(first, forget_targets),
        "contrast": lambda: contrast(first[:, 0], second[:, 0], 0.1),
        "mix_loss": lambda: mix_loss(first, forget_targets, retain_targets, 0.3, 0.1),
        "generator_loss": lambda: generator_loss(first, forget_targets, retain_targets, 0.3, 0.1),
        "real_loss": lambda: real_loss(first, second, forget_targets, retain_targets, 0.1),
    }[name]()


@pytest.mark.parametrize("name", ["sharpen", "cosine_distance", "contrast", "mix_loss", "generator_loss", "real_loss"])
def test_bfloat16_autocast_does_not_cost_precision(name: str) -> None:
    rows = [row.bfloat16() for row in batch_of(4)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = on_bfloat16(name, *rows)
    assert result.dtype == torch.float32
    assert torch.equal(result, on_bfloat16(name, *(row.float() for row in rows)))


# ---- sharpen ----


def test_sharpen_at_temperature_one_changes_nothing() -> None:
    probabilities = distributions(5, 7)
    close(sharpen(probabilities, 1.0).double(), probabilities)


@pytest.mark.parametrize("temperature", [0.3, 0.5, 2.0])
def test_sharpen_is_the_printed_power(temperature: float) -> None:
    probabilities = distributions(5, 7)
    powers = probabilities ** (1 / temperature)
    close(sharpen(probabilities, temperature).double(), powers / powers.sum(-1, keepdim=True))


def test_sharpen_at_low_temperature_is_one_hot() -> None:
    """A power of 1000 underflows to 0 / 0 where it is taken literally."""
    probabilities = torch.tensor([[0.1, 0.5, 0.4], [0.34, 0.33, 0.33]])
    close(sharpen(probabilities, 1e-3), [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def test_sharpen_at_high_temperature_is_uniform() -> None:
    close(sharpen(distributions(5, 4), 1e6), torch.full((5, 4), 0.25), 1e-4)


@pytest.mark.parametrize("temperature", [1e-3, 0.3, 1.0, 5.0])
def test_sharpen_of_zeros_has_finite_values_and_gradients(temperature: float) -> None:
    zeros = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]], requires_grad=True)
    result = sharpen(zeros, temperature)
    (gradient,) = torch.autograd.grad((result * torch.tensor([1.0, 2.0, 4.0])).sum(), zeros)
    assert torch.isfinite(result).all() and torch.isfinite(gradient).all()
    close(result.sum(-1), [1.0, 1.0])
    if temperature <= 1:
        close(result, [[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])


# ---- cosine_distance ----


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 0.0),
        ([0.2, 0.3, 0.5], [0.4, 0.6, 1.0], 0.0),
        ([1.0, 0.0, 0.0], [0.0, 0.5, 0.5], 1.0),
        ([1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], 0.5),
        ([1.0, 0.0], [0.5, 0.5], 1 - math.sqrt(0.5)),
    ],
    ids=["equal", "equal directions", "disjoint", "one-hot and uniform", "45 degrees"],
)
def test_cosine_distance_has_its_known_answers(first: list[float], second: list[float], expected: float) -> None:
    ours = cosine_distance(torch.tensor([first, first]), torch.tensor([second, first]))
    close(ours, [expected, 0.0])


def test_cosine_distance_has_a_finite_gradient_where_the_target_is_met() -> None:
    one_hot = torch.eye(3)
    _, gradient = value_and_gradients(lambda output: cosine_distance(output, one_hot).sum(), one_hot)
    close(gradient, torch.zeros(3, 3))


# ---- contrast ----

FORGET = torch.tensor([0.9, 0.1, 0.5, 0.8])


def push(temperature: float) -> Tensor:
    """Gradient of `contrast` by the forget distances."""
    return value_and_gradients(lambda forget: contrast(torch.zeros(4), forget, temperature), FORGET)[1]


def test_low_temperature_pushes_only_the_sample_already_farthest() -> None:
    close(push(1e-3) * 1e-3, [-1.0, 0.0, 0.0, 0.0])


def test_high_temperature_fades_the_push_evenly() -> None:
    close(push(1e4) * 1e4, torch.full((4,), -0.25), 1e-4)
    assert push(1e4).abs().sum() < 1e-3 < push(1.0).abs().sum()


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e4])
def test_temperature_has_no_say_in_the_pull(temperature: float) -> None:
    _, pull = value_and_gradients(lambda keep: contrast(keep, FORGET, temperature), torch.rand(4))
    close(pull, torch.full((4,), 0.25))

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mixunlearn_hf.mixblock import MixBlock, mix

GOLDEN = json.loads((Path(__file__).parent / "golden" / "mixblock.json").read_text(encoding="utf-8"))["cases"]
SHAPES = [(6,), (3, 2)]  # a sequence, a map
shapes = pytest.mark.parametrize("shape", SHAPES, ids=["sequence", "map"])


def close(ours: Tensor, expected: Any, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, torch.as_tensor(expected).to(ours.dtype), rtol=tolerance, atol=tolerance)


def decided_block(channels: int) -> MixBlock:
    """A MixBlock with weights large enough that its masks are far from 1/2."""
    block = MixBlock(channels)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.8)
    return block


def pair(*shape: int, batch: int = 3, channels: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, channels, *shape), torch.randn(batch, channels, *shape)


def golden_block(case: dict[str, Any]) -> MixBlock:
    block = MixBlock(case["channels"])
    names = [f"{layer}.{kind}" for layer in ("query", "key", "value") for kind in ("weight", "bias")]
    block.load_state_dict({name: torch.tensor(case[name.replace(".", "_")]) for name in names})
    return block


# ---- the oracle: one position of one row at a time ----


def printed_logits(block: MixBlock, own: Tensor, other: Tensor) -> Tensor:
    """Logits of one side of one row from `(P, C + 1)` features."""
    weights = {name: value.double() for name, value in block.state_dict().items()}

    def linear(layer: str, position: Tensor) -> Tensor:
        return weights[f"{layer}.weight"] @ position + weights[f"{layer}.bias"]

    logits = []
    for queried in own:
        query = linear("query", queried).clamp_min(0)
        scores = [query @ linear("key", keyed).clamp_min(0) / (block.channels // 2) ** 0.5 for keyed in other]
        total = sum(torch.exp(score) for score in scores)
        values = [linear("value", position)[0] for position in own]
        logits.append(sum(torch.exp(s) / total * v for s, v in zip(scores, values, strict=True)))
    return torch.stack(logits)


def printed_mask(block: MixBlock, forget: Tensor, retain: Tensor, lam: list[float]) -> Tensor:
    """The mask at the positions of the features, `(B, P)`, float64."""
    rows = []
    for f, r, weight in zip(forget.double().flatten(2), retain.double().flatten(2), lam, strict=True):
        positions = f.shape[1]
        f_positions = [torch.cat([f[:, p], torch.tensor([weight], dtype=torch.float64)]) for p in range(positions)]
        r_positions = [torch.cat([r[:, p], torch.tensor([1 - weight], dtype=torch.float64)]) for p in range(positions)]
        forget_logits = printed_logits(block, torch.stack(f_positions), torch.stack(r_positions))
        retain_logits = printed_logits(block, torch.stack(r_positions), torch.stack(f_positions))
        rows.append(forget_logits.exp() / (forget_logits.exp() + retain_logits.exp()))
    return torch.stack(rows)


# ---- the mask ----


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['channels']}-channels")
def test_golden_masks_of_both_sides(case: dict[str, Any]) -> None:
    size = (case["height"] * case["upsample"], case["width"] * case["upsample"])
    features = torch.tensor(case["forget_features"]), torch.tensor(case["retain_features"])
    mask = golden_block(case)(*features, case["lam"], size)
    close(mask, case["forget_mask"])
    close(1 - mask, case["retain_mask"])


def test_256_channels_have_the_66k_parameters_of_the_paper() -> None:
    assert sum(parameter.numel() for parameter in MixBlock(256).parameters()) == 66_306


@shapes
@pytest.mark.parametrize("channels", [2, 4])
def test_mask_is_the_attention_written_as_loops(shape: tuple[int, ...], channels: int) -> None:
    block, (forget, retain) = decided_block(channels), pair(*shape, channels=channels)
    lam = [0.1, 0.5, 0.8]
    mask = block(forget, retain, torch.tensor(lam))
    assert mask.shape == (3, *shape)
    close(mask.flatten(1).double(), printed_mask(block, forget, retain, lam))


@shapes
def test_every_parameter_learns_from_the_mask(shape: tuple[int, ...]) -> None:
    block = decided_block(4)
    block(*pair(*shape), 0.3, tuple(2 * length for length in shape)).square().sum().backward()
    learns = {name for name, parameter in block.named_parameters() if parameter.grad.abs().max() > 1e-6}
    assert learns == {name for name, _ in block.named_parameters()} - {"value.bias"}  # it raises both logits alike


def test_lam_moves_the_mask() -> None:
    block, features = decided_block(4), pair(6)
    assert (block(*features, 0.1) - block(*features, 0.9)).abs().max() > 0.01


@shapes
def test_lam_per_row_equals_lam_scalar(shape: tuple[int, ...]) -> None:
    block, features = decided_block(4), pair(*shape)
    assert torch.equal(block(*features, torch.full((3,), 0.3)), block(*features, 0.3))


def test_lam_of_a_row_does_not_reach_other_rows() -> None:
    block, (forget, retain) = decided_block(4), pair(6)
    mask = block(forget, retain, torch.tensor([0.1, 0.5, 0.8]))
    alone = [block(forget[i : i + 1], retain[i : i + 1], lam) for i, lam in enumerate((0.1, 0.5, 0.8))]
    close(mask, torch.cat(alone))


@shapes
def test_swapping_the_samples_swaps_the_sides_of_the_mask(shape: tuple[int, ...]) -> None:
    block, (forget, retain) = decided_block(4), pair(*shape)
    size = tuple(2 * length for length in shape)
    close(block(retain, forget, 1 - 0.3, size), 1 - block(forget, retain, 0.3, size))


@shapes
def test_training_starts_near_one_half(shape: tuple[int, ...]) -> None:
    mask = MixBlock(16)(*pair(*shape, channels=16), 0.9)
    assert (mask - 0.5).abs().max() < 0.05


# ---- resizing ----


def test_sequence_is_resized_linearly_before_the_softmax() -> None:
    block, features = decided_block(4), pair(3)
    logits = torch.special.logit(block(*features, 0.3).double())  # the difference of the two logits
    resized = torch.stack([  # each new position lies a quarter of a step beside an old one
        logits[:, 0],
        0.75 * logits[:, 0] + 0.25 * logits[:, 1],
        0.25 * logits[:, 0] + 0.75 * logits[:, 1],
        0.75 * logits[:, 1] + 0.25 * logits[:, 2],
        0.25 * logits[:, 1] + 0.75 * logits[:, 2],
        logits[:, 2],
    ], 1)  # fmt: skip
    close(block(*features, 0.3, (6,)).double(), resized.sigmoid())


def test_map_takes_the_positions_of_the_embedding() -> None:
    block, features = decided_block(4), pair(2, 3)
    assert block(*features, 0.3, (5, 7)).shape == (3, 5, 7)
    assert torch.equal(block(*features, 0.3, (2, 3)), block(*features, 0.3))


# ---- padding ----


def padded() -> Tensor:
    """Which of the six positions of three rows hold content: all, four, and, with a gap, three."""
    return torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 0, 0]]).bool()


@pytest.mark.parametrize("side", [0, 1], ids=["forget", "retain"])
def test_content_of_padding_does_not_reach_the_mask_elsewhere(side: int) -> None:
    block, features, present = decided_block(4), list(pair(6)), padded()
    before = block(*features, 0.3, None, present)
    features[side] = torch.where(present[:, None], features[side], 100.0)
    after = block(*features, 0.3, None, present)
    close(after[present], before[present])
    assert not torch.allclose(block(*features, 0.3)[present], before[present])  # without `both_present` it does


def test_padded_row_has_the_mask_it_has_alone() -> None:
    block, (forget, retain), present = decided_block(4), pair(6), padded()
    mask = block(forget, retain, 0.3, None, present)
    for row, keep in enumerate(present):
        alone = block(forget[row : row + 1, :, keep], retain[row : row + 1, :, keep], 0.3)
        close(mask[row, keep], alone[0])


def test_padding_of_maps_is_left_out_too() -> None:
    block, (forget, retain) = decided_block(4), pair(2, 3)
    present = torch.tensor([[1, 1, 0], [1, 1, 0]]).bool().expand(3, 2, 3)
    mask = block(forget, retain, 0.3, None, present)
    close(mask[:, :, :2], block(forget[..., :2], retain[..., :2], 0.3))


def test_row_without_common_content_gives_no_nan() -> None:
    block, features, present = decided_block(4), pair(6), padded()
    present[1] = False
    assert torch.isfinite(block(*features, 0.3, None, present)).all()


# ---- precision ----


def test_bfloat16_autocast_does_not_cost_precision() -> None:
    block, features = decided_block(4), [side.bfloat16() for side in pair(3, 2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = block(*features, 0.3, (6, 4))
    assert mask.dtype == torch.float32
    assert torch.equal(mask, block(*(side.float() for side in features), 0.3, (6, 4)))


# ---- mix ----


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_mask_of_one_is_the_forget_and_of_zero_the_retain_embedding(channel_dim: int) -> None:
    forget, retain = pair(2, 2, channels=2)
    assert torch.equal(mix(forget, retain, torch.ones(3, 2, 2), channel_dim), forget)
    assert torch.equal(mix(forget, retain, torch.zeros(3, 2, 2), channel_dim), retain)


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_mask_applies_to_positions_and_not_to_channels(channel_dim: int) -> None:
    """All dimensions have one length here, so that a mask put on the wrong one would broadcast silently."""
    forget, retain, mask = torch.rand(3, 3, 3), torch.rand(3, 3, 3), torch.rand(3, 3)
    mixed = mix(forget, retain, mask, channel_dim)
    for row in range(3):
        for position in range(3):
            at = (row, slice(None), position) if channel_dim == 1 else (row, position)
            weight = mask[row, position]
            close(mixed[at], weight * forget[at] + (1 - weight) * retain[at])


def test_mask_of_a_map_serves_a_sequence_of_patches_in_reading_order() -> None:
    forget, retain, mask = torch.rand(3, 6, 4), torch.rand(3, 6, 4), torch.rand(3, 2, 3)
    assert torch.equal(mix(forget, retain, mask, -1), mix(forget, retain, mask.flatten(1), -1))


def test_mixing_keeps_the_precision_of_the_embedding() -> None:
    forget, retain = (side.bfloat16() for side in pair(6))
    assert mix(forget, retain, torch.rand(3, 6)).dtype == torch.bfloat16

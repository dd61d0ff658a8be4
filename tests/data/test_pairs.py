from collections import Counter
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, default_data_collator

from mixunlearn_hf.data.pairs import PairCollator, PairedDataset, PairedSampler
from mixunlearn_hf.data.rows import NO_LABEL, Rows


def rows(count: int, start: int = 0, labels: list[Any] | None = None, name: str = "rows") -> Rows:
    """Rows whose only input is their number, counted from `start`."""
    columns: dict[str, list] = {"input_ids": [[start + i] for i in range(count)]}
    if labels is not None:
        columns["label"] = labels
    return Rows(datasets.Dataset.from_dict(columns), ["input_ids"], "input_ids", name=name)


def epoch(sampler: PairedSampler, number: int) -> list[tuple[int, int]]:
    sampler.set_epoch(number)
    return list(sampler)


# ---- the sampler ----


@pytest.mark.parametrize(("num_forget", "num_retain"), [(6, 20), (20, 6), (1, 5), (5, 1), (4, 4)])
def test_every_forget_row_comes_once_an_epoch(num_forget: int, num_retain: int) -> None:
    sampler = PairedSampler(num_forget, num_retain, seed=0)
    assert len(sampler) == num_forget
    for number in range(4):
        pairs = epoch(sampler, number)
        assert sorted(forget for forget, _ in pairs) == list(range(num_forget))
        assert all(0 <= retain < num_retain for _, retain in pairs)


@pytest.mark.parametrize(("num_forget", "num_retain"), [(6, 20), (20, 6), (1, 5), (7, 5), (4, 4)])
def test_no_retain_row_comes_twice_before_every_other_came_once(num_forget: int, num_retain: int) -> None:
    sampler, seen = PairedSampler(num_forget, num_retain, seed=0), Counter(dict.fromkeys(range(num_retain), 0))
    for number in range(12):
        for _, retain in epoch(sampler, number):
            seen[retain] += 1
            assert max(seen.values()) - min(seen.values()) <= 1


def test_partners_and_order_are_redrawn_each_epoch() -> None:
    sampler = PairedSampler(8, 8, seed=0)
    epochs = [epoch(sampler, number) for number in range(4)]
    assert len({tuple(forget for forget, _ in pairs) for pairs in epochs}) == 4
    assert len({tuple(sorted(pairs)) for pairs in epochs}) == 4


def test_passes_through_the_retain_set_differ() -> None:
    sampler = PairedSampler(5, 5, seed=0)
    assert len({tuple(sampler.partners(start, start + 5)) for start in range(0, 25, 5)}) == 5


def test_seed_and_epoch_alone_decide_so_that_a_resume_needs_no_state() -> None:
    uninterrupted = PairedSampler(6, 20, seed=3)
    epochs = [epoch(uninterrupted, number) for number in range(3)]
    np.random.seed(99)
    torch.manual_seed(99)
    assert epoch(PairedSampler(6, 20, seed=3), 2) == epochs[2]
    for drawn in (0, 1):  # forget rows, partners
        other_seed = epoch(PairedSampler(6, 20, seed=4), 2)
        assert [pair[drawn] for pair in other_seed] != [pair[drawn] for pair in epochs[2]]


def test_iterating_twice_does_not_advance_the_epoch() -> None:
    sampler = PairedSampler(6, 20, seed=3)
    assert list(sampler) == list(sampler)


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 5), (4, 17), (5, 10)])
def test_partners_of_any_stretch_are_those_of_the_one_sequence(start: int, stop: int) -> None:
    """Which targets to precompute is read off this sequence; a stretch cut wrongly would leave some unknown."""
    sampler = PairedSampler(7, 5, seed=0)
    assert sampler.partners(start, stop).tolist() == sampler.partners(0, 20)[start:stop].tolist()


def test_epochs_walk_through_the_partner_sequence() -> None:
    sampler = PairedSampler(7, 5, seed=0)
    drawn = [retain for number in range(3) for _, retain in epoch(sampler, number)]
    assert drawn == sampler.partners(0, 21).tolist()


def test_no_partners_are_asked_for_by_zero_epochs() -> None:
    assert len(PairedSampler(7, 5, seed=0).partners(0, 0)) == 0


# ---- the data set ----


def test_pair_holds_the_rows_it_names() -> None:
    pairs = PairedDataset(rows(3), rows(5, start=100))
    assert len(pairs) == 3
    assert pairs[2, 4] == {"forget": {"input_ids": [2]}, "retain": {"input_ids": [104]}}
    assert pairs.__getitems__([(0, 1), (2, 1)]) == [pairs[0, 1], pairs[2, 1]]


@pytest.mark.parametrize("named", ["forget", "retain"])
def test_targets_travel_with_their_rows(named: str) -> None:
    pairs, other = PairedDataset(rows(5), rows(5)), "retain" if named == "forget" else "forget"
    values = getattr(pairs, f"{named}_values")
    values["target"], values["floor"] = torch.arange(5.0)[:, None].expand(-1, 2), torch.arange(5.0)
    collate = PairCollator(default_data_collator)
    for first, second in ((0, 1), (2, 4), (1, 0)):
        batch = collate(pairs.__getitems__([(first, second), (1, 3)]))
        numbers = batch[named]["input_ids"].float()  # (B, 1)
        assert torch.equal(batch[named]["target"], numbers.expand(-1, 2))
        assert torch.equal(batch[named]["floor"], numbers[:, 0])
        assert batch[other].keys() == {"input_ids"}


def test_one_forget_row_can_be_paired() -> None:
    pairs, sampler = PairedDataset(rows(1), rows(4, start=100)), PairedSampler(1, 4, seed=0)
    partners = []
    for number in range(4):
        sampler.set_epoch(number)
        (batch,) = DataLoader(pairs, 2, sampler=sampler, collate_fn=PairCollator(default_data_collator))
        assert batch["forget"]["input_ids"].tolist() == [[0]]
        partners += batch["retain"]["input_ids"].flatten().tolist()
    assert sorted(partners) == [100, 101, 102, 103]


def test_forget_set_larger_than_the_retain_set_repeats_partners() -> None:
    pairs, sampler = PairedDataset(rows(7), rows(3, start=100)), PairedSampler(7, 3, seed=0)
    batches = list(DataLoader(pairs, 3, sampler=sampler, collate_fn=PairCollator(default_data_collator)))
    assert sorted(i for batch in batches for i in batch["forget"]["input_ids"].flatten().tolist()) == list(range(7))
    partners = Counter(i for batch in batches for i in batch["retain"]["input_ids"].flatten().tolist())
    assert sorted(partners.values()) == [2, 2, 3]


# ---- the collator ----


def pair(forget: dict[str, Any], retain: dict[str, Any]) -> dict[str, Any]:
    return {"forget": forget, "retain": retain}


def test_both_halves_are_padded_to_one_length(tokenizer: Any) -> None:
    """Samples are mixed position by position."""
    pairs = [pair({"input_ids": [2]}, {"input_ids": [2, 3, 6]}), pair({"input_ids": [4, 6]}, {"input_ids": [5]})]
    batch = PairCollator(DataCollatorWithPadding(tokenizer))(pairs)
    assert batch["forget"]["input_ids"].tolist() == [[2, 0, 0], [4, 6, 0]]
    assert batch["retain"]["input_ids"].tolist() == [[2, 3, 6], [5, 0, 0]]
    assert batch["retain"]["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_raw_text_reaches_a_padded_batch(tokenizer: Any) -> None:
    texts = datasets.Dataset.from_dict({"text": ["the cat", "the dog sleeps"], "label": [0, 1]})
    both = Rows(texts, ["input_ids", "attention_mask"], "input_ids", tokenizer)
    batch = PairCollator(DataCollatorWithPadding(tokenizer))(PairedDataset(both, both).__getitems__([(0, 1), (1, 0)]))
    assert batch["forget"]["input_ids"].tolist() == [[2, 3, 0], [2, 4, 6]]
    assert batch["retain"]["input_ids"].tolist() == [[2, 4, 6], [2, 3, 0]]
    assert (batch["forget"]["labels"].tolist(), batch["retain"]["labels"].tolist()) == ([0, 1], [1, 0])


def test_raw_images_reach_a_batch(image_processor: Any) -> None:
    from PIL import Image

    images = datasets.Dataset.from_dict(
        {"image": [Image.new("L", (9, 9), 255 * i) for i in range(2)], "label": [0, 1]},
        features=datasets.Features(image=datasets.Image(), label=datasets.Value("int64")),
    )
    both = Rows(images, ["pixel_values"], "pixel_values", image_processor)
    batch = PairCollator(default_data_collator)(PairedDataset(both, both).__getitems__([(0, 1), (1, 0)]))
    assert batch["forget"]["pixel_values"].shape == (2, 3, 8, 8)
    torch.testing.assert_close(batch["forget"]["pixel_values"].mean((1, 2, 3)), torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(batch["retain"]["pixel_values"].mean((1, 2, 3)), torch.tensor([1.0, -1.0]))


def labels_of(forget: list[int | None], retain: list[int | None]) -> tuple[Any, Any]:
    """Labels of both halves of a batch, `None` where a half has no `labels`; a `None` is a row without the key."""

    def row(label: int | None) -> dict[str, Any]:
        return {"input_ids": [2]} if label is None else {"input_ids": [2], "labels": label}

    pairs = [pair(row(f), row(r)) for f, r in zip(forget, retain, strict=True)]
    batch = PairCollator(default_data_collator)(pairs)
    return tuple(batch[name]["labels"].tolist() if "labels" in batch[name] else None for name in ("forget", "retain"))


@pytest.mark.parametrize(
    ("forget", "retain", "expected"),
    [
        ([0, 1], [2, 3], ([0, 1], [2, 3])),
        ([0, NO_LABEL], [2, 3], ([0, NO_LABEL], [2, 3])),
        ([NO_LABEL, 1], [NO_LABEL, 3], ([NO_LABEL, 1], [NO_LABEL, 3])),
        ([NO_LABEL, NO_LABEL], [2, 3], (None, [2, 3])),
        ([None, None], [2, 3], (None, [2, 3])),
        ([0, 1], [None, None], ([0, 1], None)),
        ([None, None], [None, None], (None, None)),
    ],
)
def test_missing_labels_do_not_reach_the_collator_or_the_other_half(
    forget: list[Any], retain: list[Any], expected: Any
) -> None:
    assert labels_of(forget, retain) == expected


def test_labels_and_targets_stay_out_of_the_inner_collator() -> None:
    received: list[dict[str, Any]] = []

    def inner(batch: list[dict[str, Any]]) -> dict[str, Any]:
        received.extend(batch)
        return default_data_collator(batch)

    row = {"input_ids": [2], "labels": 1, "target": torch.tensor([0.5, 0.5]), "floor": torch.tensor(0.5)}
    PairCollator(inner)([pair(dict(row), dict(row))])
    assert [set(one) for one in received] == [{"input_ids"}] * 2


def test_collating_leaves_the_rows_as_they_were() -> None:
    """A data set that hands out its own rows would lose their labels after the first epoch."""
    rows_ = [pair({"input_ids": [2], "labels": 1}, {"input_ids": [3], "labels": 0})]
    collate = PairCollator(default_data_collator)
    first, second = collate(rows_), collate(rows_)
    assert first["forget"]["labels"].tolist() == second["forget"]["labels"].tolist() == [1]


def test_plain_rows_of_an_evaluation_pass_through() -> None:
    batch = PairCollator(default_data_collator)([{"input_ids": [2], "labels": 1}, {"input_ids": [3], "labels": 0}])
    assert {name: value.tolist() for name, value in batch.items()} == {"input_ids": [[2], [3]], "labels": [1, 0]}

"""Batches of a small request: one row to forget meets as many rows to keep as any other.

A batch holds one retain row for each forget row. Were a single row the whole forget half, a single retain row a step
would hold all other predictions in place, and they would move. So a small forget set is repeated until it fills the
batch, each copy with a retain row of its own, and the weight of all copies together is that of one row in a full batch
(`MixUnlearnTrainer.unlearning_loss`).
"""

from collections.abc import Iterator

from ..data.pairs import Pair, PairedSampler


class FilledSampler(PairedSampler):
    """A [`PairedSampler`] that repeats a small forget set within an epoch, as often as it fits into one batch.

    A forget set of more than half a batch is not repeated, nor one the retain set has no further partners for.

    Args:
        num_forget, num_retain, seed: as in [`PairedSampler`].
        batch_size (`int`): pairs in a batch, in all processes together.

    Attributes:
        repeats (`int`): how often each forget row occurs in an epoch.
    """

    def __init__(self, num_forget: int, num_retain: int, seed: int, batch_size: int) -> None:
        self.repeats = max(1, min(batch_size, num_retain) // num_forget)
        super().__init__(self.repeats * num_forget, num_retain, seed)

    def __iter__(self) -> Iterator[Pair]:
        rows = self.num_forget // self.repeats
        return iter([(forget % rows, retain) for forget, retain in super().__iter__()])

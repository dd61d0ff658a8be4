"""What a model says of sets of rows, by a Trainer: devices, precision and several processes are its concern."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import Trainer

from ..data.rows import NO_LABEL
from .scores import accuracy, cross_entropy, membership_auc


@dataclass(frozen=True)
class Outputs:
    """What a model says of some rows.

    Args:
        logits (`np.ndarray` of shape `(N, C)`).
        labels (`np.ndarray` of shape `(N,)`): class numbers, `NO_LABEL` for rows without one.
    """

    logits: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def classes(self) -> np.ndarray:
        """Labels, and where there is none the class the model gives the row."""
        return np.where(self.labels == NO_LABEL, self.logits.argmax(-1), self.labels)

    def losses(self) -> np.ndarray:
        """Cross entropy of each row with its class, `(N,)`."""
        return cross_entropy(self.logits, self.classes())

    def of_classes(self, classes: Collection[int], among: bool = True) -> "Outputs":
        """The rows of some classes, or, with `among=False`, of all others."""
        rows = np.isin(self.labels, list(classes)) == among
        return Outputs(self.logits[rows], self.labels[rows])

    def scores(self) -> dict[str, Any]:
        """Rows, and over those with a label accuracy and mean loss."""
        labelled = self.labels != NO_LABEL
        if not labelled.any():
            return {"rows": len(self)}
        logits, labels = self.logits[labelled], self.labels[labelled]
        return {
            "rows": len(self),
            "accuracy": accuracy(logits, labels),
            "loss": float(cross_entropy(logits, labels).mean()),
        }


def outputs_of(trainer: Trainer, rows: Any) -> Outputs:
    """What the trainer's model says of all rows of a data set, each of them once however many processes there are."""
    predicted = trainer.predict(rows)
    logits = predicted.predictions[0] if isinstance(predicted.predictions, tuple) else predicted.predictions
    labels = predicted.label_ids
    return Outputs(np.asarray(logits), np.full(len(logits), NO_LABEL) if labels is None else np.asarray(labels))


def scores_of(outputs: Mapping[str, Outputs], going: Collection[int] = ()) -> dict[str, dict[str, Any]]:
    """Scores of each set; of unseen rows also apart for the classes that go, if any, and those that stay."""
    scores = {}
    for name, one in outputs.items():
        scores[name] = one.scores()
        if name not in ("forget", "retain") and going:
            halves = {f"{name}_forgotten": one.of_classes(going), f"{name}_others": one.of_classes(going, among=False)}
            scores |= {half: rows.scores() for half, rows in halves.items() if len(rows)}
    return scores


def memorisation(forget: Outputs, unseen: Outputs) -> dict[str, float] | None:
    """Whether the loss tells forget rows from unseen rows of their classes; `None` if there are none of these."""
    if not np.intersect1d(forget.classes(), unseen.classes()).size:
        return None
    auc, chance_deviation = membership_auc(forget.losses(), forget.classes(), unseen.losses(), unseen.classes())
    return {"membership_auc": auc, "chance_deviation": chance_deviation}

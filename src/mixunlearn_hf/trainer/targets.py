"""What to aim at: the target of every row, how far to push it, and whether that was reached."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm
from transformers import PreTrainedModel, Trainer
from transformers.utils import logging

from ..classifier import logits_of
from ..data.pairs import PairCollator, PairedDataset
from ..data.rows import NO_LABEL, Rows
from ..errors import ConfigError, DataError
from ..objectives import cosine_distance, sharpen
from .config import UnlearningConfig
from .filled import FilledSampler
from .floor import STAYS, distance_floor, stays, without_classes

logger = logging.get_logger(__name__)

CHECKED, FORGOTTEN = 1024, 0.05  # forget rows looked at after training, share of them that may keep its class
ENOUGH = 10  # rows of a class in a sample that tell how many there are in all
SHARP, GENTLE = 1.0, 5.0  # temperatures on the forget term; measured in docs/paper_index.md


class TargetedTrainer(Trainer):
    """The part of [`UnlearningTrainer`] that decides, before training, what every row is drawn to or pushed from.

    Attributes:
        original_model: the frozen model whose predictions are the targets of rows without a label.
        temperature (`float`): of the forget term, where the settings leave it open; follows from the request.
    """

    args: UnlearningConfig
    model: PreTrainedModel
    original_model: PreTrainedModel
    train_dataset: PairedDataset
    data_collator: PairCollator
    sampler: FilledSampler
    holdout: Rows | None
    num_labels: int
    temperature: float = SHARP
    _going: dict[int, int]  # some forget rows of classes that go, and these classes
    _gone: list[int]  # the classes that go

    def _with_targets(self, half: dict[str, Tensor], retained: bool = False) -> dict[str, Tensor]:
        """A half batch without its labels and with its targets, `(B, C)`."""
        half = dict(half)
        labels = half.pop("labels", None)
        if "target" not in half:
            half["target"] = self._targets(labels, half)
        if retained and self._gone:
            half["target"] = without_classes(half["target"], self._gone)
        return half

    @torch.no_grad()
    def _predict(self, inputs: dict[str, Tensor]) -> Tensor:
        """Probabilities of the original model, `(B, C)` in float32."""
        with self.accelerator.autocast():
            return logits_of(self.original_model(**inputs)).float().softmax(-1)

    def _targets(self, labels: Tensor | None, inputs: dict[str, Tensor], predicted: Tensor | None = None) -> Tensor:
        """One-hot labels for rows that have one, if wanted, else the original model's sharpened prediction."""
        wanted = labels if self.args.label_mode != "agnostic" else None
        if wanted is not None and wanted.max() >= self.num_labels:
            raise DataError(f"A row has a label outside the model's {self.num_labels} classes.")
        if self.args.label_mode == "labels" and (wanted is None or (wanted == NO_LABEL).any()):
            raise DataError('A row has no label, and `label_mode="labels"` needs one on every row. Use "auto".')
        if wanted is not None and (wanted != NO_LABEL).all():
            return torch.nn.functional.one_hot(wanted, self.num_labels).float()
        predicted = self._predict(inputs) if predicted is None else predicted
        targets = sharpen(predicted, self.args.sharpen_temperature)
        if wanted is None:
            return targets
        one_hot = torch.nn.functional.one_hot(wanted.clamp_min(0), self.num_labels).float()
        return torch.where((wanted == NO_LABEL)[:, None], targets, one_hot)

    def _ask_original(self, rows: Rows, indices: np.ndarray, distances: bool = False) -> tuple[Tensor, Tensor]:
        """Targets `(n, C)` of some rows and, if asked for, the original model's distance `(n,)` from them."""
        loader = DataLoader(
            Subset(rows, indices.tolist()),
            batch_size=self.args.per_device_eval_batch_size,
            collate_fn=self.data_collator.rows,
            num_workers=self.args.dataloader_num_workers,
        )
        targets, asked = [], []
        for batch in tqdm(loader, desc=f"Targets of {rows.name}", disable=self.args.disable_tqdm, leave=False):
            batch = self._prepare_inputs(batch)
            labels = batch.pop("labels", None)
            predicted = self._predict(batch) if distances else None
            targets.append(self._targets(labels, batch, predicted))
            if predicted is not None:
                asked.append(cosine_distance(predicted, targets[-1]))
        return torch.cat(targets).cpu(), torch.cat(asked or [torch.empty(0)]).cpu()

    # ---- what to aim at, decided once before training ----

    def _plan(self) -> None:
        """Targets, where they take predictions and rows are the same at each visit, and how far to push each row."""
        dataset = self.train_dataset
        forget_classes, dataset.forget_values = self._classes(dataset.forget, np.arange(len(dataset)))
        visited = self.sampler.partners(0, len(self.sampler) * self._epochs())
        staying = stays(forget_classes, self._count_retained(forget_classes, visited))
        self._gone = forget_classes[~staying].unique().tolist()
        self._going = {int(row): int(forget_classes[row]) for row in torch.nonzero(~staying)[:CHECKED]}
        mostly = staying.float().mean() > 0.5
        labelled = self.args.label_mode != "agnostic" and dataset.forget.label_column is not None
        self.temperature = GENTLE if mostly and self.holdout is None else SHARP
        if not staying.any():
            return
        if self.holdout is None and not (labelled or mostly):
            # rows of classes that go which the original takes for others: so would a retrained model, leave them there
            dataset.forget_values["floor"] = torch.where(staying, 0.0, math.inf)
            return
        if self.holdout is None:
            logger.warning(
                f"{int(staying.sum())} of {len(staying)} forget rows are of classes that stay"
                f"{'' if labelled else ', as the original model predicts them'}. A retrained model would treat them "
                "like unseen rows. Pass some as `holdout_dataset=` (never trained on, not used to judge the result) "
                "to push them that far; without, the push has no end"
                f"{f', but is gentle (temperature {GENTLE:g} where none is set)' if mostly else ''}."
            )
            return
        unseen_targets, unseen = self._ask_original(self.holdout, np.arange(len(self.holdout)), distances=True)
        _, distances = self._ask_original(dataset.forget, np.arange(len(dataset)), distances=True)
        floor = distance_floor(distances, forget_classes, unseen, unseen_targets.argmax(-1))
        dataset.forget_values["floor"] = torch.where(staying, floor, math.inf)

    def _count_retained(self, forget_classes: Tensor, visited: np.ndarray) -> Tensor:
        """Rows of each class in the retain set, `(C,)`; estimated where classes have to be predicted.

        Beside the rows that are visited anyway, fifty a class are looked at; all of them where so few rows of a class
        would make it stay that a sample can miss them, such as the one that is left of a class with two.
        """
        dataset, rows = self.train_dataset, len(self.train_dataset.retain)
        forgotten = torch.bincount(forget_classes, minlength=self.num_labels)
        for size in (min(50 * self.num_labels, rows), rows):
            sample = self.sampler.partners(0, size)
            classes, dataset.retain_values = self._classes(dataset.retain, np.unique([*visited, *sample]))
            seen, share = torch.bincount(classes, minlength=self.num_labels), len(classes) / rows
            unclear = (forgotten > 0) & (seen < ENOUGH) & (STAYS * forgotten * share < ENOUGH)
            if share == 1 or not unclear.any():
                break
        return seen / share

    def _classes(self, rows: Rows, indices: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        """Classes of the targets of some rows, and the targets themselves where they are worth keeping."""
        labels = rows.labels()
        if self.args.label_mode != "agnostic" and labels is not None and NO_LABEL not in labels:
            return torch.as_tensor(labels), {}
        targets, _ = self._ask_original(rows, indices)
        if rows.randomly_augmented:
            return targets.argmax(-1), {}
        table = torch.full((len(rows), self.num_labels), math.nan)  # NaN for rows that will not be visited
        table[torch.as_tensor(indices)] = targets
        return targets.argmax(-1), {"target": table}

    def _epochs(self) -> int:
        """Passes over the forget set that this run will begin."""
        args, batch, pairs = self.args, self.args.train_batch_size * self.args.world_size, len(self.sampler)
        batches = pairs // batch if args.dataloader_drop_last else -(-pairs // batch)
        if batches == 0:
            raise ConfigError(
                f"{len(self.train_dataset)} forget rows do not fill one batch of {batch}, and `dataloader_drop_last` "
                "drops it. Use smaller batches, or keep the last one."
            )
        if args.max_steps > 0:
            return math.ceil(args.max_steps / max(batches // args.gradient_accumulation_steps, 1))
        return math.ceil(args.num_train_epochs)

    # ---- after training ----

    @torch.no_grad()
    def _warn_unless_forgotten(self) -> None:
        """See whether the classes that go are gone: losses of a run that changed too little look like any other's."""
        if not self._going:
            return
        self.model.eval()
        remembered, rows = 0, Subset(self.train_dataset.forget, list(self._going))
        classes = iter(self._going.values())
        for batch in DataLoader(rows, self.args.per_device_eval_batch_size, collate_fn=self.data_collator.rows):
            batch = self._prepare_inputs(batch)
            batch.pop("labels", None)
            with self.accelerator.autocast():
                predicted = logits_of(self.model(**batch)).argmax(-1).tolist()
            remembered += sum(label == next(classes) for label in predicted)
        share = remembered / len(self._going)
        self.log({"forget_agreement": share})
        if share > FORGOTTEN:
            logger.warning(
                f"The model still gives {share:.0%} of the forget rows their class, after "
                f"{self.state.global_step} steps at learning rate {self.args.learning_rate:g}. Small forget sets make "
                "few steps: raise `num_train_epochs`, lower `per_device_train_batch_size`, or raise `learning_rate`."
            )

"""How long unlearning will take, and retraining beside it, from a few timed steps."""

import copy
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.utils import logging as transformers_logging

from ..classifier import logits_of
from ..data.rows import NO_LABEL, Rows
from ..trainer.base import UnlearningTrainer
from .memory import MemoryPeak

WARM_UP = 2  # steps that are not timed
BUDGET = 5.0  # seconds of timed steps, no more than needed for MOST of them
MOST = 60


class _Timer(TrainerCallback):
    """Notes when steps end, and ends the training when enough were timed, after whole rounds of `interval` steps."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.ends: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.ends:
            self.ends.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())
        timed = len(self.ends) - 1 - WARM_UP
        if timed > 0 and timed % self.interval == 0:
            control.should_training_stop = timed >= MOST or self.ends[-1] - self.ends[WARM_UP] > BUDGET

    def seconds(self, steps: int) -> float:
        """Of so many steps, the first ones as slow as they were."""
        timed = len(self.ends) - 1 - WARM_UP
        each = (self.ends[-1] - self.ends[WARM_UP]) / timed
        return max(self.ends[WARM_UP] - self.ends[0] - WARM_UP * each, 0.0) + steps * each


def total_steps(trainer: Trainer) -> int:
    """Optimizer steps of a whole run of the trainer."""
    args = trainer.args
    if args.max_steps > 0:
        return args.max_steps
    return math.ceil(
        args.num_train_epochs * math.ceil(len(trainer.get_train_dataloader()) / args.gradient_accumulation_steps)
    )


def time_unlearning(make_trainer: Callable[[Any], Trainer], args: Any, steps: int) -> tuple[float, int]:
    """Seconds that `steps` steps will take, and the peak memory in bytes, from a short run in a temporary folder.

    Args:
        make_trainer (`Callable`): builds a trainer, on some of the rows and a copy of the model, with given settings.
        args: settings of the run that is planned.
        steps (`int`): its optimizer steps.
    """
    timer = _Timer(getattr(args, "generator_interval", 1))
    with tempfile.TemporaryDirectory() as folder, quiet():
        trial = copy.copy(args)
        changed = {"output_dir": folder, "max_steps": WARM_UP + MOST, "disable_tqdm": True, "report_to": []}
        never = {"save_strategy": "no", "eval_strategy": "no", "logging_strategy": "no"}
        for name, value in {**changed, **never, "load_best_model_at_end": False, "push_to_hub": False}.items():
            setattr(trial, name, value)
        trainer = make_trainer(trial)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(timer)
        with MemoryPeak() as peak:
            trainer.train()
    return timer.seconds(steps), peak.bytes


def time_retraining(trainer: UnlearningTrainer, rows: Rows, batch_size: int, steps: int) -> tuple[float, int]:
    """Seconds that `steps` steps of ordinary training on the retain set will take, and the peak memory in bytes.

    Data loading, forward, backward and AdamW are timed on a copy of the model; what the loss aims at takes no time.
    """
    model = copy.deepcopy(trainer.model).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    needed = min(len(rows), batch_size * (WARM_UP + MOST))
    sample = torch.utils.data.Subset(rows, torch.randperm(len(rows))[:needed].tolist())
    loader = DataLoader(sample, batch_size, collate_fn=trainer.data_collator.rows)
    timer = _Timer(1)
    control = _Control()
    with MemoryPeak() as peak:
        while not control.should_training_stop:
            for batch in loader:
                timer.on_step_begin(None, None, control)
                batch = trainer._prepare_inputs(batch)
                batch.pop("labels", None)
                with trainer.accelerator.autocast():
                    loss = logits_of(model(**batch)).float().logsumexp(-1).mean()
                trainer.accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                timer.on_step_end(None, None, control)
                if control.should_training_stop:
                    break
    return timer.seconds(steps), peak.bytes


class _Control:
    should_training_stop = False


@contextmanager
def quiet() -> Iterator[None]:
    """Without what trainers say: their warnings are about a trial that ends early."""
    ours, theirs = logging.getLogger(__name__.partition(".")[0]), transformers_logging.get_verbosity()
    before = ours.level
    ours.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        ours.setLevel(before)
        transformers_logging.set_verbosity(theirs)


def rows_asked(trainer: UnlearningTrainer, classes_stay: bool) -> int:
    """Rows that the original model is asked about before training, for targets and for how far to go.

    Args:
        trainer ([`UnlearningTrainer`]): the run that is planned.
        classes_stay (`bool`): whether rows of classes that stay are to be forgotten.
    """
    pairs, sampler = trainer.train_dataset, trainer.sampler
    visits = {"forget": len(pairs), "retain": len(sampler) * math.ceil(trainer.args.num_train_epochs)}
    asked = 0
    for rows, visited in ((pairs.forget, visits["forget"]), (pairs.retain, visits["retain"])):
        labels = None if trainer.args.label_mode == "agnostic" else rows.labels()
        if labels is None or NO_LABEL in labels:
            asked += min(visited, len(rows))
    if classes_stay and trainer.holdout is not None:
        asked += len(pairs) + len(trainer.holdout)
    return asked

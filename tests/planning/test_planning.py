"""What a request will cost, against what it costs."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import TrainerCallback

from mixunlearn_hf import MixUnlearnTrainer
from mixunlearn_hf.planning.cost import (
    _Timer,
    quiet,
    rows_asked,
    time_retraining,
    time_unlearning,
    total_steps,
)
from mixunlearn_hf.planning.memory import MemoryPeak


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_train_epochs": 2.5},
        {"max_steps": 5},
        {"gradient_accumulation_steps": 3},
        {"per_device_train_batch_size": 64},
        {"dataloader_drop_last": True},
    ],
    ids=str,
)
def test_total_steps_are_those_of_the_run(settings: dict[str, Any], tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, **settings)
    planned = total_steps(trainer)
    trainer.train()
    assert trainer.state.global_step == planned


class Slow(TrainerCallback):
    def on_substep_end(self, *args: Any, **kwargs: Any) -> None: ...

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.02)


def test_time_of_steps_is_foretold(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path / "real", max_steps=40)

    def make_trainer(args: Any) -> MixUnlearnTrainer:
        trial = tiny.trainer(tmp_path / "unused")
        made = MixUnlearnTrainer(
            tiny.build("resnet"),
            args,
            forget_dataset=trial.train_dataset.forget.dataset,
            retain_dataset=trial.train_dataset.retain.dataset,
        )
        made.add_callback(Slow())
        return made

    foretold, memory = time_unlearning(make_trainer, trainer.args, 40)
    trainer.add_callback(Slow())
    start = time.perf_counter()
    trainer.train()
    assert foretold == pytest.approx(time.perf_counter() - start, rel=0.5)
    assert memory > 1e7


def test_a_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path / "out", save_strategy="steps", save_steps=1)
    args, before = trainer.args, tiny.state(trainer.model)
    settings = args.to_dict()
    time_unlearning(lambda trial: tiny.trainer(trial.output_dir, max_steps=trial.max_steps), args, 3)
    time_retraining(trainer, trainer.train_dataset.retain, 8, 10)
    assert args.to_dict() == settings
    assert tiny.equal(before, tiny.state(trainer.model))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_timer_counts_slow_first_steps_once() -> None:
    timer = _Timer(1)
    timer.ends = [0.0, 5.0, 6.0, 7.0, 8.0]  # two steps to warm up, 6 s of them instead of 2, then one second each
    assert timer.seconds(10) == pytest.approx(4 + 10)


def test_timer_stops_after_whole_rounds() -> None:
    class Control:
        should_training_stop = False

    timer, control, steps = _Timer(4), Control(), 0
    timer.on_step_begin(None, None, control)
    while not control.should_training_stop:
        timer.on_step_end(None, None, control)
        steps += 1
    assert (steps - 2) % 4 == 0 and steps >= 60


def test_retraining_takes_longer_with_more_steps(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path)
    few, memory = time_retraining(trainer, trainer.train_dataset.retain, 8, 10)
    many, _ = time_retraining(trainer, trainer.train_dataset.retain, 8, 1000)
    assert 0 < few < many / 10 and memory > 1e7


@pytest.mark.parametrize(
    ("label_mode", "holdout", "expected"), [("auto", False, 0), ("agnostic", False, 18), ("auto", True, 14)]
)
def test_rows_the_original_model_is_asked_about(
    label_mode: str, holdout: bool, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six forget rows in one pass of six pairs: twelve visits without labels; eight holdout rows for the floor."""
    held = tiny.rows("resnet", 8, seed=5) if holdout else None
    trainer = tiny.trainer(
        tmp_path,
        label_mode=label_mode,
        num_train_epochs=2,
        forget=tiny.rows("resnet", 6, seed=1),
        retain=tiny.rows("resnet", 40, seed=2),
        trainer_kwargs={"holdout_dataset": held},
    )
    assert rows_asked(trainer, classes_stay=True) == expected


def test_quiet_ends(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mixunlearn_hf.trainer.targets")
    with quiet():
        logger.warning("of a trial")
    logger.warning("of a run")
    assert [record.message for record in caplog.records] == ["of a run"]


def test_memory_peak_sees_what_was_freed_again() -> None:
    with MemoryPeak() as nothing:
        time.sleep(0.05)
    with MemoryPeak() as peak:
        block = torch.ones(100_000_000 // 4)
        time.sleep(0.1)
        del block
    assert peak.bytes - nothing.bytes > 50e6

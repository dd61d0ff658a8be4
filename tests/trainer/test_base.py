"""What people expect of a Trainer holds, and data of every shape trains."""

from typing import Any

import datasets
import numpy as np
import pytest
import tiny
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer, UnlearningConfig, UnlearningTrainer
from mixunlearn_hf.data.rows import NO_LABEL

EVAL = {
    "forget": tiny.rows("resnet", 6, 1, (0,)),
    "retain": tiny.rows("resnet", 20, 2),
    "test": tiny.rows("resnet", 9, 3),
}


def test_every_term_is_logged_every_logging_steps(tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, logging_steps=2, generator_interval=1)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    terms = {"mix_loss", "real_loss", "generator_loss", "mask_mean", "forget_distance", "retain_distance"}
    for entry in logged:
        assert terms <= set(entry)
        assert 0 <= entry["mask_mean"] <= 1 and 0 <= entry["forget_distance"] <= 1
    assert logged[0]["loss"] == pytest.approx(0.2 * logged[0]["mix_loss"] + logged[0]["real_loss"], abs=1e-3)


def test_a_log_is_the_mean_since_the_last_one(tmp_path: Any) -> None:
    each = tiny.history(tiny.train(tmp_path / "each", logging_steps=1), "real_loss")
    paired = tiny.history(tiny.train(tmp_path / "paired", logging_steps=2), "real_loss")
    assert paired == pytest.approx([np.mean(each[:2]), np.mean(each[2:])], rel=1e-5)


def test_several_evaluation_sets_with_accuracy_by_default(tmp_path: Any) -> None:
    trainer = tiny.trainer(tmp_path, trainer_kwargs={"eval_dataset": EVAL}, eval_strategy="epoch")
    trainer.train()
    metrics = trainer.evaluate()
    for name, rows in EVAL.items():
        with torch.no_grad():
            logits = trainer.model(torch.tensor(rows["pixel_values"][:])).logits
        expected = (logits.argmax(-1) == torch.tensor(rows["label"][:])).float().mean()
        assert metrics[f"eval_{name}_accuracy"] == pytest.approx(float(expected))
        assert len(tiny.history(trainer, f"eval_{name}_accuracy")) == 3  # two epochs and the call above
    assert trainer.evaluate(EVAL["test"])["eval_accuracy"] == metrics["eval_test_accuracy"]


def test_own_compute_metrics_replaces_accuracy(tmp_path: Any) -> None:
    own = {"compute_metrics": lambda prediction: {"rows": len(prediction.label_ids)}, "eval_dataset": EVAL["test"]}
    metrics = tiny.trainer(tmp_path, trainer_kwargs=own).evaluate()
    assert metrics["eval_rows"] == 9 and "eval_accuracy" not in metrics


def test_evaluation_without_labels_gives_predictions_and_no_accuracy(tmp_path: Any) -> None:
    trainer = tiny.trainer(tmp_path)
    output = trainer.predict(EVAL["test"].remove_columns("label"))
    assert output.predictions.shape == (9, tiny.CLASSES) and "test_accuracy" not in output.metrics


@pytest.mark.parametrize("name", tiny.IMAGE_MODELS)
def test_best_model_is_loaded_at_the_end_and_old_checkpoints_go(name: str, tmp_path: Any) -> None:
    trainer = tiny.train(
        tmp_path,
        name,
        trainer_kwargs={"eval_dataset": EVAL},
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        save_total_limit=2,
        num_train_epochs=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_retain_loss",
        greater_is_better=False,
    )
    losses = tiny.history(trainer, "eval_retain_loss")
    assert trainer.state.best_metric == min(losses)
    assert trainer.evaluate()["eval_retain_loss"] == pytest.approx(min(losses), rel=1e-5)
    assert len(list(tmp_path.glob("checkpoint-*"))) <= 3


def test_callbacks_schedules_and_max_steps_are_the_trainers(tmp_path: Any) -> None:
    steps: list[int] = []

    class Counting(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.append(state.global_step)

    trainer = tiny.train(
        tmp_path,
        max_steps=5,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=2,
        trainer_kwargs={"callbacks": [Counting()]},
    )
    assert steps == [1, 2, 3, 4, 5]
    assert tiny.history(trainer, "learning_rate") == pytest.approx([0, 5e-4, 1e-3, 1e-3, 1e-3])


def test_early_stopping_stops(tmp_path: Any) -> None:
    trainer = tiny.train(
        tmp_path,
        trainer_kwargs={"eval_dataset": EVAL, "callbacks": [EarlyStoppingCallback(1, 1e9)]},
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        num_train_epochs=9,
        load_best_model_at_end=True,
        metric_for_best_model="eval_retain_loss",
        greater_is_better=False,
    )
    assert trainer.state.global_step == 2


def test_an_epoch_is_one_pass_over_the_forget_set(tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, num_train_epochs=3)
    assert trainer.state.global_step == 6  # 6 rows in batches of 4, the last one not full
    assert trainer.state.epoch == 3


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_forget_rows(name: str, count: int, tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, name, forget=tiny.rows(name, count, 1, (0,)))
    assert all(torch.isfinite(value).all() for value in tiny.state(trainer.model).values())


def test_more_forget_than_retain_rows(tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, forget=tiny.rows("resnet", 11, 1, (0, 1)), retain=tiny.rows("resnet", 3, 2, (2,)))
    assert trainer.state.global_step == 6


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_rows_without_a_label_column_train_on_the_originals_predictions(name: str, tmp_path: Any) -> None:
    data = tiny.rows(name, 6, 1, (0,)), tiny.rows(name, 20, 2, (1, 2, 3))
    unlabelled = tiny.train(
        tmp_path / "a", name, forget=data[0].remove_columns("label"), retain=data[1].remove_columns("label")
    )
    ignored = tiny.train(tmp_path / "b", name, forget=data[0], retain=data[1], label_mode="agnostic")
    assert tiny.equal(tiny.state(unlabelled.model), tiny.state(ignored.model))


@pytest.mark.parametrize("missing", [None, -1, NO_LABEL])
def test_labels_on_part_of_the_rows(missing: int | None, tmp_path: Any) -> None:
    rows = tiny.rows("resnet", 6, 1, (0,)).to_dict()
    rows["label"][1::2] = [missing] * 3
    trainer = tiny.train(tmp_path, forget=datasets.Dataset.from_dict(rows))
    targets = trainer.train_dataset.forget_values["target"]
    one_hot = torch.nn.functional.one_hot(torch.tensor([0, 0, 0]), tiny.CLASSES).float()
    assert torch.equal(targets[::2], one_hot)
    assert ((targets[1::2] > 0) & (targets[1::2] < 1)).all()


def test_labels_are_used_unless_they_are_not_wanted(tmp_path: Any) -> None:
    runs = {
        mode: tiny.state(tiny.train(tmp_path / mode, label_mode=mode).model) for mode in ("auto", "labels", "agnostic")
    }
    assert tiny.equal(runs["auto"], runs["labels"]) and not tiny.equal(runs["auto"], runs["agnostic"])


def test_randomly_augmented_rows_get_their_targets_at_each_visit(tmp_path: Any) -> None:
    def noisy(batch: dict[str, Any]) -> dict[str, Any]:
        return {"pixel_values": [torch.tensor(image) + torch.randn(1) for image in batch["pixel_values"]]}

    forget, retain = (tiny.rows("resnet", n, n).with_transform(noisy) for n in (6, 20))
    trainer = tiny.train(tmp_path, forget=forget, retain=retain, label_mode="agnostic")
    assert "target" not in trainer.train_dataset.forget_values
    steady = tiny.train(tmp_path / "steady", label_mode="agnostic")
    assert "target" in steady.train_dataset.forget_values


def test_precomputed_targets_equal_those_of_each_visit(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tiny.train(tmp_path / "a", label_mode="agnostic")
    monkeypatch.setattr("mixunlearn_hf.data.rows.Rows.randomly_augmented", property(lambda _: True))
    second = tiny.train(tmp_path / "b", label_mode="agnostic")
    assert first.train_dataset.forget_values and not second.train_dataset.forget_values
    for name, value in tiny.state(first.model).items():
        torch.testing.assert_close(value, tiny.state(second.model)[name], atol=1e-4, rtol=1e-3)


def test_a_model_can_be_given_by_its_path(tmp_path: Any) -> None:
    tiny.build("resnet").save_pretrained(tmp_path / "model")
    by_path = tiny.train(tmp_path / "a", model=str(tmp_path / "model"))
    assert tiny.equal(tiny.state(by_path.model), tiny.state(tiny.train(tmp_path / "b").model))


@pytest.mark.parametrize("workers", [1])
def test_worker_processes_change_nothing(workers: int, tmp_path: Any) -> None:
    alone = tiny.train(tmp_path / "a")
    helped = tiny.train(tmp_path / "b", dataloader_num_workers=workers)
    assert tiny.equal(tiny.state(alone.model), tiny.state(helped.model))


# ---- rows of classes that stay ----


def test_rows_of_classes_that_stay_get_a_floor_from_the_holdout(tmp_path: Any) -> None:
    forget, retain, holdout = (tiny.rows("resnet", count, count) for count in (8, 40, 12))
    trainer = tiny.train(tmp_path, forget=forget, retain=retain, trainer_kwargs={"holdout_dataset": holdout})
    floor = trainer.train_dataset.forget_values["floor"]
    assert floor.shape == (8,) and torch.isfinite(floor).all() and trainer.temperature == 1


def test_a_second_training_begins_where_the_first_ended(tmp_path: Any) -> None:
    forget, retain, holdout = (tiny.rows("resnet", count, count) for count in (8, 40, 12))
    trainer = tiny.train(tmp_path, forget=forget, retain=retain, trainer_kwargs={"holdout_dataset": holdout})
    before = tiny.state(trainer.model)
    trainer.train()
    assert trainer.state.global_step == 4 and not tiny.equal(before, tiny.state(trainer.model))


def test_without_a_holdout_they_are_pushed_gently_and_the_user_is_told(tmp_path: Any, caplog: Any) -> None:
    trainer = tiny.train(tmp_path, forget=tiny.rows("resnet", 8, 8), retain=tiny.rows("resnet", 40, 40))
    assert trainer.temperature == 5 and "8 of 8 forget rows are of classes that stay" in caplog.text


def test_a_class_that_goes_has_no_floor(tmp_path: Any, caplog: Any) -> None:
    trainer = tiny.train(tmp_path, trainer_kwargs={"holdout_dataset": tiny.rows("resnet", 12, 12)})
    assert "floor" not in trainer.train_dataset.forget_values and trainer.temperature == 1
    assert "classes that stay" not in caplog.text


@pytest.mark.parametrize("mode", ["agnostic", "labels"])
def test_rows_mistaken_for_another_class_do_not_change_a_class_request(
    mode: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Predicted classes err; labels do not."""
    strays = torch.tensor([True, False, False, False, False, False])
    monkeypatch.setattr("mixunlearn_hf.trainer.targets.stays", lambda *_: strays.clone())
    trainer = tiny.train(tmp_path / "a", label_mode=mode)
    assert trainer.temperature == 1
    assert list(trainer._going) == [1, 2, 3, 4, 5], "a row mistaken for another class cannot show what was forgotten"
    assert ("the push has no end" in caplog.text) == (mode == "labels")
    with_holdout = {"trainer_kwargs": {"holdout_dataset": tiny.rows("resnet", 12, 12)}}
    values = tiny.train(tmp_path / "b", label_mode=mode, **with_holdout).train_dataset.forget_values
    assert torch.isfinite(values["floor"]).tolist() == strays.tolist()
    without_holdout = trainer.train_dataset.forget_values.get("floor")
    if mode == "labels":
        assert without_holdout is None
    else:
        assert without_holdout.tolist() == [0.0] + [torch.inf] * 5


@pytest.mark.parametrize(
    ("rows", "settings", "passes", "steps"),
    [
        (6, {}, 24, 48),  # two batches of four
        (6, {"gradient_accumulation_steps": 2}, 48, 48),
        (100, {}, 3, 75),
        (6, {"num_train_epochs": 1}, 1, 2),
        (1, {}, 48, 48),
    ],
)
def test_passes_that_are_left_open(
    rows: int, settings: dict[str, Any], passes: int, steps: int, tmp_path: Any
) -> None:
    settings = {"num_train_epochs": 0, "forget": tiny.rows("resnet", rows, 1, (0,)), **settings}
    trainer = tiny.trainer(tmp_path, **settings)
    assert trainer.args.num_train_epochs == passes
    trainer.train()
    assert trainer.state.global_step == steps


def test_passes_that_are_left_open_stay_open_in_the_settings(tmp_path: Any) -> None:
    args = MixUnlearnConfig(str(tmp_path), report_to=[], use_cpu=True)
    sets = {"forget_dataset": tiny.rows("resnet", 6, 1, (0,)), "retain_dataset": tiny.rows("resnet", 9, 2, (1,))}
    assert MixUnlearnTrainer(tiny.build("resnet"), args, **sets).args.num_train_epochs == 48
    assert args.num_train_epochs == 0


def test_a_run_that_changed_too_little_says_so(tmp_path: Any, caplog: Any) -> None:
    """Losses of such a run look like any other's."""
    with torch.no_grad():
        forget = tiny.rows("resnet", 6, 1, (0,))
        model = tiny.build("resnet")
        model.classifier[-1].bias[0] += 100  # all rows are of class 0 to it
    trainer = tiny.train(tmp_path / "a", model=model, forget=forget, learning_rate=1e-12)
    assert "still gives 100% of the forget rows their class, after 4 steps" in caplog.text
    assert tiny.history(trainer, "forget_agreement") == [1.0]
    caplog.clear()
    with torch.no_grad():
        model.classifier[-1].bias[0] -= 200
    trainer = tiny.train(tmp_path / "b", model=model, forget=forget, learning_rate=1e-12)
    assert "still gives" not in caplog.text and tiny.history(trainer, "forget_agreement") == [0.0]


def test_one_row_of_a_class_that_stays_is_seen_as_such(tmp_path: Any) -> None:
    """One pass visits one retain row; that must not decide which classes stay."""
    forget, retain = tiny.rows("resnet", 1, 8), tiny.rows("resnet", 40, 40)
    for mode in ("labels", "agnostic"):
        trainer = tiny.train(tmp_path / mode, forget=forget, retain=retain, label_mode=mode, num_train_epochs=1)
        assert trainer.temperature == 5


def test_a_collator_that_knows_no_labels_loses_none(tmp_path: Any) -> None:
    def pixels_only(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.stack([torch.as_tensor(row["pixel_values"]) for row in rows])}

    forget, retain, holdout = (tiny.rows("resnet", count, count) for count in (8, 40, 12))
    floors = []
    for collator in ({}, {"data_collator": pixels_only}):
        trainer = MixUnlearnTrainer(
            tiny.build("resnet"),
            tiny.trainer(tmp_path / str(len(floors))).args,
            forget_dataset=forget,
            retain_dataset=retain,
            holdout_dataset=holdout,
            **collator,
        )
        trainer.train()
        floors.append(trainer.train_dataset.forget_values["floor"])
    assert torch.equal(*floors)


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_evaluating_in_the_middle_does_not_change_the_training(name: str, tmp_path: Any) -> None:
    evaluated = {"trainer_kwargs": {"eval_dataset": tiny.rows(name, 9, 3)}, "eval_strategy": "steps", "eval_steps": 1}
    plain, watched = tiny.train(tmp_path / "a", name), tiny.train(tmp_path / "b", name, **evaluated)
    assert tiny.equal(tiny.state(plain.model), tiny.state(watched.model))


def test_dropping_the_last_batch_plans_for_all_epochs(tmp_path: Any) -> None:
    forget, retain = tiny.rows("resnet", 7, 1, (0,)), tiny.rows("resnet", 200, 2, (1, 2, 3))
    trainer = tiny.train(
        tmp_path, forget=forget, retain=retain, max_steps=12, dataloader_drop_last=True, label_mode="agnostic"
    )
    assert trainer.state.global_step == 12


# ---- a method of one's own ----


class OnlyRetain(UnlearningTrainer):
    """Cross entropy on the retain rows."""

    def unlearning_loss(self, model: Any, forget: Any, retain: Any) -> torch.Tensor:
        target = retain.pop("target")
        loss = torch.nn.functional.cross_entropy(model(**retain).logits, target)
        self.record(retain_cross_entropy=loss)
        return loss


def test_a_method_is_one_function_on_the_base(tmp_path: Any) -> None:
    settings = UnlearningConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True, logging_steps=1
    )
    trainer = OnlyRetain(
        tiny.build("resnet"), settings, forget_dataset=EVAL["forget"], retain_dataset=tiny.rows("resnet", 40, 4)
    )
    trainer.train()
    assert tiny.history(trainer, "retain_cross_entropy") == pytest.approx(tiny.history(trainer, "loss"), abs=1e-3)

"""The two phases: what each moves, what each leaves alone, what each switch changes."""

import copy
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from mixunlearn_hf import objectives
from mixunlearn_hf.trainer import mixunlearn

ALL = pytest.mark.parametrize("name", tiny.MODELS)


class Watched:
    """Records what moves during each phase of a training step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moved: list[dict[str, bool]] = []
        phase = mixunlearn.MixUnlearnTrainer._generator_phase

        def watched(trainer: Any, *args: Any) -> None:
            before = self._states(trainer)
            gradients = [None if p.grad is None else p.grad.clone() for p in trainer.model.parameters()]
            phase(trainer, *args)
            self.moved.append({name: not tiny.equal(before[name], now) for name, now in self._states(trainer).items()})
            for parameter, gradient in zip(trainer.model.parameters(), gradients, strict=True):
                assert gradient is None or torch.equal(parameter.grad, gradient)

        monkeypatch.setattr(mixunlearn.MixUnlearnTrainer, "_generator_phase", watched)

    def _states(self, trainer: Any) -> dict[str, dict[str, torch.Tensor]]:
        return {
            "unlearner": tiny.state(trainer.model),
            "original": tiny.state(trainer.original_model),
            "mixblock": tiny.state(trainer.generator.mixblock),
        }


@ALL
def test_generator_phase_moves_only_mixblock(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    tiny.train(tmp_path, name)
    assert watched.moved == [{"unlearner": False, "original": False, "mixblock": True}] * 4


@ALL
def test_unlearner_phase_moves_only_the_unlearner(name: str, tmp_path: Any) -> None:
    trainer = tiny.trainer(tmp_path, name, generator="frozen")
    before = tiny.state(trainer.model), tiny.state(trainer.original_model), tiny.state(trainer.generator.mixblock)
    trainer.train()
    assert not tiny.equal(before[0], tiny.state(trainer.model))
    assert tiny.equal(before[1], tiny.state(trainer.original_model))
    assert tiny.equal(before[2], tiny.state(trainer.generator.mixblock))
    assert all(parameter.grad is None for parameter in trainer.original_model.parameters())
    assert all(parameter.grad is None for parameter in trainer.generator.mixblock.parameters())


def test_original_batch_norm_buffers_never_move(tmp_path: Any) -> None:
    trainer = tiny.trainer(tmp_path, "resnet")
    buffers = {name: value.clone() for name, value in trainer.original_model.named_buffers()}
    trainer.train()
    assert any("running_mean" in name for name in buffers)
    assert all(torch.equal(value, buffers[name]) for name, value in trainer.original_model.named_buffers())


def test_batch_norm_statistics_follow_the_rows_that_batch_norm_names(tmp_path: Any) -> None:
    """Forget rows far from the retain rows give away whether they reached the statistics."""
    far = (
        tiny.rows("resnet", 8, classes=(0,))
        .with_format("numpy")
        .map(lambda row: {"pixel_values": row["pixel_values"] + 100})
    )
    drift = {}
    for setting in ("retain", "all", "frozen"):
        trainer = tiny.trainer(tmp_path / setting, forget=far, batch_norm=setting, num_train_epochs=1)
        key = "resnet.embedder.embedder.normalization.running_var"
        before = tiny.state(trainer.model)[key]
        trainer.train()
        drift[setting] = float((tiny.state(trainer.model)[key] - before).abs().max())
    assert drift["frozen"] == 0
    assert 0 < drift["retain"] < 10 < drift["all"]


@ALL
def test_two_runs_of_one_seed_are_bit_equal_and_another_seed_differs(name: str, tmp_path: Any) -> None:
    runs = [tiny.train(tmp_path / str(i), name, seed=seed) for i, seed in enumerate((3, 3, 4))]
    models = [tiny.state(run.model) for run in runs]
    generators = [tiny.state(run.generator.mixblock) for run in runs]
    assert tiny.equal(models[0], models[1]) and tiny.equal(generators[0], generators[1])
    assert tiny.history(runs[0], "loss") == tiny.history(runs[1], "loss")
    assert not tiny.equal(models[0], models[2]) and not tiny.equal(generators[0], generators[2])


def test_what_happens_between_construction_and_training_has_no_say_in_the_result(tmp_path: Any) -> None:
    first = tiny.train(tmp_path / "a", "bert")
    second = tiny.trainer(tmp_path / "b", "bert")
    torch.rand(17)
    second.train()
    assert tiny.equal(tiny.state(first.model), tiny.state(second.model))


@ALL
def test_targets_travel_with_their_rows(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With mask 0 a mixed row is its retain partner: unlearner and original agree on it, so its distance is zero."""
    distances: list[float] = []
    loss = objectives.mix_loss

    def watched(mixed: Any, forget: Any, retain: Any, *settings: Any) -> Any:
        distances.extend(objectives.cosine_distance(mixed, retain).tolist())
        return loss(mixed, forget, retain, *settings)

    monkeypatch.setattr(mixunlearn, "mix_loss", watched)
    monkeypatch.setattr(mixunlearn, "mix", lambda forget, retain, mask, channel_dim: retain)
    length = {} if name in tiny.IMAGE_MODELS else {"forget": same_length(6, 1, (0,)), "retain": same_length(20, 2)}
    tiny.train(
        tmp_path,
        name,
        model=telling(name),
        learning_rate=1e-12,
        label_mode="agnostic",
        sharpen_temperature=1.0,
        batch_norm="frozen",
        **length,
    )
    assert len(distances) == 12 and max(distances) < 1e-5


def telling(name: str) -> Any:
    """A model whose predictions differ from row to row, so that a wrong partner shows. No dropout."""
    model = tiny.build(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    head = model.classifier[-1] if isinstance(model.classifier, torch.nn.Sequential) else model.classifier
    with torch.no_grad():
        logits = model(**retain_inputs(name)).logits
        head.weight.mul_(3 / logits.std(0, keepdim=True).T)
        head.bias.zero_()
        head.bias.sub_(model(**retain_inputs(name)).logits.mean(0))
    return model


def retain_inputs(name: str) -> dict[str, torch.Tensor]:
    data = tiny.rows(name, 20, 2, (1, 2, 3)) if name in tiny.IMAGE_MODELS else same_length(20, 2)
    names = {"pixel_values", "input_ids", "attention_mask"} & set(data.features)
    return {key: torch.tensor(data[key][:]) for key in names}


def same_length(count: int, seed: int, classes: tuple[int, ...] = (1, 2, 3)) -> Any:
    """Token rows without padding: a padded position of the retain row would keep the forget row's token."""
    return tiny.rows("bert", count, seed, classes).map(
        lambda row: {"input_ids": (row["input_ids"] * 4)[:8], "attention_mask": [1] * 8}
    )


@ALL
def test_telling_model_tells_rows_apart(name: str) -> None:
    """The check above would pass for a model that says the same of every row."""
    with torch.no_grad():
        predictions = telling(name)(**retain_inputs(name)).logits.softmax(-1)
    assert objectives.cosine_distance(predictions, predictions.roll(1, 0)).median() > 1e-2


def test_forgets_a_class_and_keeps_the_others(tmp_path: Any) -> None:
    model = tiny.build("resnet").train()
    data = tiny.rows("resnet", 200).with_format("torch")
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(15):
        loss = model(pixel_values=data["pixel_values"][:], labels=data["label"][:]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    forget, retain = tiny.rows("resnet", 40, 5, (0,)), tiny.rows("resnet", 120, 6, (1, 2, 3))
    trainer = tiny.trainer(
        tmp_path,
        model=model,
        forget=forget,
        retain=retain,
        per_device_train_batch_size=16,
        num_train_epochs=10,
        learning_rate=3e-3,
        label_mode="agnostic",
        trainer_kwargs={"eval_dataset": {"forget": forget, "retain": retain}},
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert before["eval_forget_accuracy"] > 0.95 and before["eval_retain_accuracy"] > 0.95
    assert after["eval_forget_accuracy"] == 0 and after["eval_retain_accuracy"] > 0.95


# ---- switches of the ablations ----


def changed(tmp_path: Any, name: str = "resnet", **switch: Any) -> tuple[Any, Any]:
    default, switched = tiny.train(tmp_path / "default", name), tiny.train(tmp_path / "switched", name, **switch)
    assert not tiny.equal(tiny.state(default.model), tiny.state(switched.model))
    return default, switched


def test_without_l_mix_nothing_is_mixed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    default, switched = changed(tmp_path, mix_weight=0)
    assert switched.generator is None
    assert tiny.history(default, "mix_loss") and not tiny.history(switched, "mix_loss")
    assert tiny.history(switched, "loss") == pytest.approx(tiny.history(switched, "real_loss"))


def test_without_l_real_only_l_mix_is_minimised(tmp_path: Any) -> None:
    _, switched = changed(tmp_path, real_weight=0, mix_weight=1)
    assert not tiny.history(switched, "real_loss")
    assert tiny.history(switched, "loss") == pytest.approx(tiny.history(switched, "mix_loss"))


def test_weights_scale_their_terms(tmp_path: Any) -> None:
    _, switched = changed(tmp_path, mix_weight=0.5, real_weight=3)
    mixed, real = tiny.history(switched, "mix_loss"), tiny.history(switched, "real_loss")
    expected = [0.5 * m + 3 * r for m, r in zip(mixed, real, strict=True)]
    assert tiny.history(switched, "loss") == pytest.approx(expected, rel=1e-5)


def test_without_sharpen_targets_are_the_predictions(tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, sharpen_temperature=1.0, label_mode="agnostic")
    with torch.no_grad():
        expected = trainer.original_model(torch.tensor(tiny.rows("resnet", 6, 1, (0,))["pixel_values"][:])).logits
    torch.testing.assert_close(trainer.train_dataset.forget_values["target"], expected.softmax(-1))
    sharpened = tiny.train(tmp_path / "default", label_mode="agnostic").train_dataset.forget_values["target"]
    assert (sharpened.max(-1).values > trainer.train_dataset.forget_values["target"].max(-1).values).all()


def test_fixed_mixup_uses_lam_at_every_position(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[torch.Tensor] = []
    mix = mixunlearn.mix
    monkeypatch.setattr(mixunlearn, "mix", lambda f, r, mask, dim: (masks.append(mask), mix(f, r, mask, dim))[1])
    trainer = tiny.train(tmp_path, generator="mixup")
    assert trainer.generator is None
    assert len(masks) == 4 and all(mask.unique().numel() == 1 for mask in masks)
    assert len({float(mask.mean()) for mask in masks}) == 4  # one draw of lam a step
    changed(tmp_path, generator="mixup")


def test_frozen_mixblock_keeps_its_random_weights(tmp_path: Any) -> None:
    trainer = tiny.trainer(tmp_path, generator="frozen")
    before = tiny.state(trainer.generator.mixblock)
    trainer.train()
    assert tiny.equal(before, tiny.state(trainer.generator.mixblock))
    assert not tiny.history(trainer, "generator_loss") and tiny.history(trainer, "mask_mean")


def test_mixblock_harms_or_helps_the_unlearner(tmp_path: Any) -> None:
    """Same draws, an unlearner that stands still: `L_gen` ends lower where MixBlock harms than where it helps."""
    losses = {}
    for kind in ("adversarial", "cooperative"):
        trainer = tiny.train(
            tmp_path / kind,
            generator=kind,
            learning_rate=1e-12,
            batch_norm="frozen",
            num_train_epochs=30,
            generator_learning_rate=1e-2,
            model=telling("resnet"),
        )
        losses[kind] = torch.tensor(tiny.history(trainer, "generator_loss"))
    difference = losses["cooperative"] - losses["adversarial"]
    assert difference[0] == 0
    assert difference[-40:].mean() > 10 * difference[:4].abs().mean()
    assert (difference[-40:] > 0).float().mean() > 0.7


def test_generator_interval_is_the_number_of_steps_between_its_updates(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    trainer = tiny.train(tmp_path, generator_interval=3, num_train_epochs=4)
    assert trainer.state.global_step == 8 and len(watched.moved) == 3  # steps 0, 3 and 6


@pytest.mark.parametrize("setting", [{"alpha": 5.0}, {"mix_temperature": 0.1}, {"real_temperature": 0.1}])
def test_settings_of_the_objective_change_the_unlearner(setting: dict[str, float], tmp_path: Any) -> None:
    changed(tmp_path, **setting)


def test_generator_settings_change_mixblock(tmp_path: Any) -> None:
    for setting in ({"generator_temperature": 0.1}, {"generator_learning_rate": 1e-2}):
        default, switched = tiny.train(tmp_path / "a"), tiny.train(tmp_path / str(setting), **setting)
        assert not tiny.equal(tiny.state(default.generator.mixblock), tiny.state(switched.generator.mixblock))


@pytest.mark.parametrize("name", tiny.IMAGE_MODELS)
def test_pixels_can_be_mixed(name: str, tmp_path: Any) -> None:
    changed(tmp_path, name, mix_at="pixels")


# ---- what people expect of a Trainer ----


@ALL
def test_saved_model_reloads_with_identical_logits(name: str, tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, name)
    trainer.save_model()
    auto = AutoModelForImageClassification if name in tiny.IMAGE_MODELS else AutoModelForSequenceClassification
    reloaded = auto.from_pretrained(tmp_path)
    key = "pixel_values" if name in tiny.IMAGE_MODELS else "input_ids"
    value = torch.tensor([tiny.rows(name, 1)[0][key]])
    assert tiny.equal(tiny.state(trainer.model), tiny.state(reloaded))
    reloaded = copy.deepcopy(reloaded)  # weights in a mapped file can be unaligned, and kernels then round otherwise
    trainer.model.eval()
    with torch.no_grad():
        assert torch.equal(reloaded(**{key: value}).logits, trainer.model(**{key: value}).logits)


def test_gradient_accumulation_averages_over_its_window(tmp_path: Any) -> None:
    """With one pair a batch the contrast has one term; four accumulated batches must give the mean of their losses."""
    trainer = tiny.trainer(
        tmp_path,
        "vit",
        per_device_train_batch_size=1,
        gradient_accumulation_steps=4,
        max_steps=1,
        mix_weight=0,
        max_grad_norm=0,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
    )
    before = tiny.state(trainer.model)
    oracle = tiny.build("vit").train()
    forget, retain = tiny.rows("vit", 6, 1, (0,)), tiny.rows("vit", 20, 2, (1, 2, 3))
    losses = []
    for i, j in list(trainer.sampler)[:4]:
        outputs, targets = [], []
        for row in (forget[i], retain[j]):
            outputs.append(oracle(torch.tensor([row["pixel_values"]])).logits.softmax(-1))
            targets.append(torch.nn.functional.one_hot(torch.tensor([row["label"]]), tiny.CLASSES).float())
        losses.append(objectives.real_loss(*outputs, *targets, 1.0))
    torch.stack(losses).mean().backward()
    trainer.train()
    for name, parameter in oracle.named_parameters():
        moved = before[name] - trainer.model.get_parameter(name)
        torch.testing.assert_close(moved, parameter.grad, atol=1e-6, rtol=1e-3)


def test_generator_steps_once_for_an_accumulation_window(tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=3, num_train_epochs=2)
    steps = {int(state["step"]) for state in trainer.generator.optimizer.state.values()}
    assert trainer.state.global_step == 2 and steps == {2}


@ALL
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resume_equals_uninterrupted_run(name: str, stop: int, tmp_path: Any) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 2}
    whole = tiny.train(tmp_path / "whole", name, **settings)
    resumed = tiny.trainer(tmp_path / "resumed", name, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    assert whole.state.global_step == resumed.state.global_step == 4
    assert tiny.equal(tiny.state(whole.model), tiny.state(resumed.model))
    assert tiny.equal(tiny.state(whole.generator.mixblock), tiny.state(resumed.generator.mixblock))

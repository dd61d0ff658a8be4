"""Every family, from a tiny random model: what `docs/models.md` says of it."""

import warnings
from typing import Any

import peft
import pytest
import tiny
import torch
import zoo

from mixunlearn_hf.families import check_mixing
from mixunlearn_hf.trainer.mixunlearn import _Pairs

everything = pytest.mark.parametrize("name", zoo.ZOO)


def pairs_of(trainer: Any, count: int = 4) -> _Pairs:
    """A batch of pairs, the model in evaluation mode."""
    batch = trainer.data_collator(trainer.train_dataset.__getitems__([(i, i + 1) for i in range(count)]))
    halves = [trainer._with_targets(trainer._prepare_inputs(batch[name])) for name in ("forget", "retain")]
    trainer.model.eval()
    return trainer._pair(*halves)


def objective(trainer: Any) -> float:
    """The unlearner's loss on one batch with one draw of `lam` and partners."""
    step, trainer.state.global_step = trainer.state.global_step, 0
    with torch.no_grad():
        batch = trainer.data_collator(trainer.train_dataset.__getitems__([(i, i + 1) for i in range(6)]))
        loss = trainer.compute_loss(trainer.model.eval(), trainer._prepare_inputs(batch))
    trainer.state.global_step = step
    return float(loss)


def logits_of_every_row(trainer: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The original's logits of rows in a batch of one each, without padding on the right."""
    logits = []
    for index in range(len(next(iter(inputs.values())))):
        row = {key: value[index : index + 1] for key, value in inputs.items()}
        if "attention_mask" in row and row["attention_mask"][0, 0]:
            length = int(row["attention_mask"].sum())
            row = {key: value[:, :length] for key, value in row.items()}
        logits.append(trainer.original_model(**row).logits)
    return torch.cat(logits)


def limited(name: str, what: str) -> None:
    """Skip what is known not to hold; a test of its own makes sure that it does not."""
    reason = zoo.ZOO[name].limit(what)
    if reason is not None:
        pytest.skip(f"{what}: {reason}")


# ---- mixing ----


@everything
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("lam", [1.0, 0.0])
def test_identity(tmp_path: Any, name: str, side: str, lam: float) -> None:
    """A mask of 1 gives the forget row's logits, a mask of 0 the retain row's, whatever the other row's length."""
    if side == "left" and zoo.ZOO[name].kind != "text":
        pytest.skip("only text is padded on the left")
    trainer = zoo.trainer(tmp_path, name, side=side, generator="mixup")  # the mask is lam
    pairs, seen = pairs_of(trainer), []
    run = trainer._site.run
    trainer._site.run = lambda *args: seen.append(run(*args)) or seen[-1]
    order = torch.tensor([1, 3, 0, 2])
    with torch.no_grad():
        trainer._forward(trainer.model, pairs, pairs.with_partners(order), order, lam)
        rows = pairs.forget if lam == 1 else {key: value[order] for key, value in pairs.retain.items()}
        expected = trainer.original_model(**rows).logits
        alone = logits_of_every_row(trainer, rows)
    mixed = torch.cat(seen)[-4:]
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed, alone, atol=1e-5, rtol=0)
    if "attention_mask" in pairs.forget:
        lengths = [half["attention_mask"].sum(-1) for half in (pairs.forget, pairs.retain)]
        assert (lengths[0] != lengths[1][order]).any()


@everything
def test_exchange(tmp_path: Any, name: str) -> None:
    """All that a row holds goes through its embedding: exchanged, the model takes it for the other row."""
    trainer = zoo.trainer(tmp_path, name)
    pairs = (trainer._first_pair(number) for number in range(4))
    assert any(
        check_mixing(trainer._family, trainer._site, trainer.model, pair["forget"], pair["retain"]) for pair in pairs
    )


@everything
def test_features(tmp_path: Any, name: str) -> None:
    """Features have a value for every channel and position, and the layers behind theirs are not computed."""
    trainer = zoo.trainer(tmp_path, name)
    pairs = pairs_of(trainer)
    assert pairs.forget_features.shape[:2] == (4, trainer.generator.mixblock.channels)
    behind = trainer._family.layers(trainer.original_model)[-1]
    calls: list[int] = []
    if behind is not trainer._layer.module:
        behind.register_forward_hook(lambda *_: calls.append(1))
        pairs_of(trainer)
        assert calls == []


# ---- training ----


@everything
def test_generator_gradient(tmp_path: Any, name: str) -> None:
    """The generator's loss moves MixBlock, and leaves the unlearner without a gradient."""
    trainer = zoo.trainer(tmp_path, name)
    pairs, kept = pairs_of(trainer), []
    trainer.current_gradient_accumulation_steps = 1  # what the training loop says
    with torch.no_grad():
        for half in (pairs.forget, pairs.retain):
            trainer._site.run(trainer.model, half, lambda embeddings: kept.append(embeddings) or embeddings)
    before, generator = tiny.state(trainer.model), tiny.state(trainer.generator.mixblock)
    trainer._generator_phase(pairs, *kept)
    assert tiny.equal(before, tiny.state(trainer.model))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    moved = tiny.state(trainer.generator.mixblock)
    attends = pairs.forget_features[0, 0].numel() > 1  # attention to the only position there is learns nothing
    for layer in ("value", "query", "key") if attends else ("value",):
        assert not torch.equal(generator[f"{layer}.weight"], moved[f"{layer}.weight"]), layer


@everything
def test_ten_steps(tmp_path: Any, name: str) -> None:
    """Ten steps lower the unlearner's loss; the saved model gives the same logits."""
    trainer = zoo.trainer(tmp_path, name, max_steps=10)
    before = objective(trainer)
    trainer.train()
    assert objective(trainer) < before - 0.05
    trainer.save_model()
    reloaded = type(trainer.model).from_pretrained(trainer.args.output_dir).eval()
    assert tiny.equal(tiny.state(reloaded), tiny.state(trainer.model))
    inputs = pairs_of(trainer).retain
    with torch.no_grad():  # weights in a mapped file can be unaligned, and some kernels then differ in the last bit
        torch.testing.assert_close(
            reloaded(**inputs).logits, trainer.model.eval()(**inputs).logits, atol=1e-6, rtol=1e-6
        )


@everything
def test_gradient_checkpointing(tmp_path: Any, name: str) -> None:
    limited(name, "gradient checkpointing")
    plain, checkpointed = (
        zoo.trainer(tmp_path / str(on), name, max_steps=3, activation_checkpointing=on) for on in (False, True)
    )
    plain.train()
    checkpointed.train()
    for term in ("loss", "generator_loss"):
        assert tiny.history(checkpointed, term) == pytest.approx(tiny.history(plain, term), abs=1e-5)


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if zoo.ZOO[name].limit("gradient checkpointing")])
def test_gradient_checkpointing_is_refused(tmp_path: Any, name: str) -> None:
    with pytest.raises(ValueError, match="does not support|batch norm"):
        zoo.trainer(tmp_path, name, max_steps=1, activation_checkpointing=True).train()


def with_adapters(name: str) -> peft.PeftModel:
    model, entry = zoo.build(name), zoo.ZOO[name]
    heads = ("classifier", "score", "cls_classifier", "projector", "timm_model.fc", "timm_model.head")
    names = [key for key, _ in model.named_modules() if key in heads]
    config = peft.LoraConfig(
        r=4, target_modules=entry.lora, modules_to_save=names, fan_in_fan_out=entry.fan_in_fan_out
    )
    return peft.get_peft_model(model, config)


@everything
def test_peft(tmp_path: Any, name: str) -> None:
    """Adapters and the head are trained, the base stays; the loss falls."""
    limited(name, "PEFT")
    wrapped = with_adapters(name)
    trainer = zoo.trainer(tmp_path, name, model=wrapped, max_steps=10, learning_rate=2e-2)
    frozen = {key: value.detach().clone() for key, value in wrapped.named_parameters() if not value.requires_grad}
    before = objective(trainer)
    trainer.train()
    assert objective(trainer) < before - 0.05
    assert all(torch.equal(value, dict(wrapped.named_parameters())[key]) for key, value in frozen.items())
    adapters = [value for key, value in wrapped.named_parameters() if "lora_B" in key]
    assert adapters and any(value.abs().max() > 0 for value in adapters)


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if zoo.ZOO[name].limit("PEFT")])
def test_peft_fails(name: str) -> None:
    wrapped = with_adapters(name)
    with pytest.raises(AttributeError):  # in the model, without this library
        wrapped(pixel_values=torch.zeros(2, 1, tiny.SIZE, tiny.SIZE))


@everything
def test_compile(tmp_path: Any, name: str) -> None:
    """A compiled model is mixed all the same: losses are those of the plain one."""
    limited(name, "torch.compile")
    torch._dynamo.reset()

    def model() -> Any:
        built = zoo.build(name)
        built.config.apply_spec_augment, built.config.layerdrop = False, 0.0  # random, and otherwise when compiled
        return built

    same_size = {"max_steps": 2, "per_device_train_batch_size": 3}  # another batch size is another graph
    plain = zoo.trainer(tmp_path / "plain", name, model=model(), **same_size)
    plain.train()
    compiled = zoo.trainer(
        tmp_path / "compiled", name, model=model(), torch_compile=True, torch_compile_backend="eager", **same_size
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled.train()
    for term in ("loss", "mix_loss", "generator_loss"):
        assert tiny.history(compiled, term) == pytest.approx(tiny.history(plain, term), abs=1e-4)

"""Everything refused before training: what was expected, what came, what to do, and no content of a row."""

from pathlib import Path
from typing import Any

import datasets
import peft
import pytest
import tiny
import torch
import zoo
from transformers import (
    AutoModelForImageClassification,
    BertForTokenClassification,
    BertModel,
    ResNetModel,
    TrainingArguments,
)

from mixunlearn_hf import MixUnlearnConfig
from mixunlearn_hf.errors import (
    ConfigError,
    DataError,
    NonFiniteObjectiveError,
    OutputExistsError,
    UnsupportedModelError,
)

CANARY = "secret-canary-4711"


def refused(error: type[Exception], match: str, tmp_path: Any, name: str = "resnet", **kwargs: Any) -> None:
    with pytest.raises(error, match=match):
        tiny.train(tmp_path, name, **kwargs)
    assert not list(Path(tmp_path).rglob("*.safetensors")), "something was trained or written before the refusal"


@pytest.mark.parametrize("empty", ["forget", "retain"])
def test_empty_set(empty: str, tmp_path: Any) -> None:
    rows = tiny.rows("resnet", 4).select([])
    refused(DataError, f"`{empty}_dataset` has no rows", tmp_path, **{empty: rows})


def test_missing_set(tmp_path: Any) -> None:
    with pytest.raises(DataError, match="`forget_dataset` is missing"):
        tiny.MixUnlearnTrainer(
            tiny.build("resnet"),
            MixUnlearnConfig(output_dir=str(tmp_path)),
            forget_dataset=None,
            retain_dataset=tiny.rows("resnet", 4),
        )


def test_shared_rows(tmp_path: Any) -> None:
    data = tiny.rows("resnet", 20)
    kwargs = {"forget": data.select(range(6)), "retain": data.select(range(4, 20))}
    refused(DataError, "share 2 rows", tmp_path, **kwargs)
    tiny.train(tmp_path, allow_shared_rows=True, **kwargs)


def test_shared_rows_are_found_after_a_map(tmp_path: Any) -> None:
    data = tiny.rows("bert", 20)
    retain = data.select(range(4, 20)).map(lambda row: row)
    refused(DataError, "share 2 rows", tmp_path, "bert", forget=data.select(range(6)), retain=retain)


def test_holdout_that_was_trained_on(tmp_path: Any) -> None:
    data = tiny.rows("resnet", 20)
    kwargs = {"forget": data.select(range(6)), "retain": data.select(range(6, 20))}
    holdout = {"holdout_dataset": data.select(range(15, 20))}
    refused(DataError, "`retain_dataset` and `holdout_dataset` share 5", tmp_path, trainer_kwargs=holdout, **kwargs)


def test_labels_outside_the_models_range(tmp_path: Any) -> None:
    rows = tiny.rows("resnet", 6, classes=(tiny.CLASSES,))
    refused(DataError, "6 rows of `forget_dataset` have a label outside the model's 4 classes", tmp_path, forget=rows)
    tiny.train(tmp_path, forget=rows, label_mode="agnostic")


def test_labels_outside_the_models_range_in_a_plain_data_set(tmp_path: Any) -> None:
    rows = [dict(row, label=9) for row in tiny.rows("resnet", 6).with_format("numpy")]
    refused(DataError, "a label outside the model's 4 classes", tmp_path, forget=rows)


def test_classes_in_another_order_than_the_models(tmp_path: Any) -> None:
    model = tiny.build("resnet")
    model.config.id2label = dict(enumerate(["ant", "bee", "cow", "dog"]))

    def named(names: list[str]) -> datasets.Dataset:
        return tiny.rows("resnet", 6, 1, (0,)).cast_column("label", datasets.ClassLabel(names=names))

    refused(
        DataError,
        "Label 2 is 'dog'.*'cow' to the model",
        tmp_path,
        model=model,
        forget=named(["ant", "bee", "dog", "cow"]),
    )
    tiny.train(tmp_path / "same", model=model, forget=named(["ant", "bee", "cow", "dog"]))
    tiny.train(tmp_path / "others", model=model, forget=named(["0", "1", "2", "3"]))


def test_label_mode_labels_needs_every_label(tmp_path: Any) -> None:
    rows = tiny.rows("resnet", 6, classes=(0,)).to_dict()
    rows["label"][2] = None
    refused(DataError, "1 of 6 rows", tmp_path, forget=datasets.Dataset.from_dict(rows), label_mode="labels")


def test_model_without_a_head(tmp_path: Any) -> None:
    refused(
        UnsupportedModelError,
        "classification head, got ResNetModel",
        tmp_path,
        model=ResNetModel(tiny.build("resnet").config),
    )
    refused(UnsupportedModelError, "got BertModel", tmp_path, "bert", model=BertModel(tiny.build("bert").config))


@pytest.mark.parametrize(
    ("problem", "labels", "reason"),
    [
        ("multi_label_classification", tiny.CLASSES, "multi-label head.*do not exclude each other"),
        ("regression", tiny.CLASSES, "regression head.*a number and no class"),
        (None, 1, "regression head.*num_labels=1"),
    ],
)
def test_other_problems_than_one_label_out_of_several(
    problem: str | None, labels: int, reason: str, tmp_path: Any
) -> None:
    model = tiny.build("bert")
    model.config.problem_type, model.config.num_labels = problem, labels
    refused(UnsupportedModelError, f"{reason}.*not supported", tmp_path, "bert", model=model)


def test_a_class_for_every_token(tmp_path: Any) -> None:
    model = BertForTokenClassification(tiny.build("bert").config)
    refused(UnsupportedModelError, "class to every token.*not supported", tmp_path, "bert", model=model)


def test_a_wrapped_model_is_refused_for_the_same_reasons(tmp_path: Any) -> None:
    adapted = peft.get_peft_model(BertForTokenClassification(tiny.build("bert").config), peft.LoraConfig())
    refused(UnsupportedModelError, "class to every token", tmp_path, "bert", model=adapted)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel])
def test_models_that_are_wrapped_already(wrap: Any, tmp_path: Any) -> None:
    refused(UnsupportedModelError, "the model itself.*torch_compile=True", tmp_path, model=wrap(tiny.build("resnet")))


def test_nothing_to_train(tmp_path: Any) -> None:
    adapted = peft.get_peft_model(tiny.build("bert"), peft.LoraConfig(inference_mode=True))
    refused(ConfigError, "No parameter.*is_trainable=True", tmp_path, "bert", model=adapted)


def test_decoder_without_a_padding_token(tmp_path: Any) -> None:
    model = zoo.build("llama")
    model.config.pad_token_id = None
    refused(DataError, "model.config.pad_token_id", tmp_path, "bert", model=model)


def test_weights_and_inputs_of_different_precision(tmp_path: Any) -> None:
    refused(DataError, r"torch.bfloat16: use `model.float\(\)`", tmp_path, model=tiny.build("resnet").bfloat16())


def test_positions_that_padding_takes_do_not_count(tmp_path: Any) -> None:
    """RoBERTa counts positions from 1 behind that of padding: of 32, it has 31 for tokens here."""
    long = datasets.Dataset.from_dict(
        {"input_ids": [[3] * 32] * 4, "attention_mask": [[1] * 32] * 4, "label": [0] * 4}
    )
    refused(DataError, "32 tokens, the model takes 31", tmp_path, "bert", model=zoo.build("roberta"), forget=long)


def test_one_row_among_others_that_is_too_long(tmp_path: Any) -> None:
    lengths = [5, 33, 7]
    rows = {"input_ids": [[3] * n for n in lengths], "attention_mask": [[1] * n for n in lengths], "label": [0] * 3}
    refused(
        DataError, "row of `forget_dataset` has 33 tokens, the model takes 32", tmp_path, "bert",
        forget=datasets.Dataset.from_dict(rows),
    )  # fmt: skip


def test_reentrant_checkpointing(tmp_path: Any) -> None:
    settings = {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}}
    refused(ConfigError, "use_reentrant", tmp_path, "bert", **settings)


def test_image_size_or_channels_that_do_not_match(tmp_path: Any) -> None:
    def resized(shape: tuple[int, ...]) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"pixel_values": torch.randn(6, *shape).tolist(), "label": [0] * 6})

    refused(
        DataError,
        r"\(1, 20, 20\).*\(1, 16, 16\)",
        tmp_path,
        "vit",
        forget=resized((1, 20, 20)),
        retain=resized((1, 20, 20)),
    )
    refused(
        DataError,
        r"\(3, 16, 16\).*\(1, 16, 16\)",
        tmp_path,
        "resnet",
        forget=resized((3, 16, 16)),
        retain=resized((3, 16, 16)),
    )


def test_tokenizer_that_does_not_match(tmp_path: Any) -> None:
    rows = datasets.Dataset.from_dict({"input_ids": [[1, 999]] * 6, "attention_mask": [[1, 1]] * 6, "label": [0] * 6})
    refused(DataError, "A token lies outside the model's vocabulary of 50", tmp_path, "bert", forget=rows)


def test_rows_longer_than_the_model_takes(tmp_path: Any) -> None:
    rows = datasets.Dataset.from_dict({"input_ids": [[1] * 99], "attention_mask": [[1] * 99], "label": [0]})
    refused(DataError, "99 tokens, the model takes 32", tmp_path, "bert", forget=rows)


def test_raw_text_without_a_tokenizer_names_the_columns_and_no_content(tmp_path: Any) -> None:
    rows = datasets.Dataset.from_dict({"text": [CANARY] * 6, "label": [0] * 6})
    with pytest.raises(DataError, match=r"columns \['text', 'label'\].*processing_class") as caught:
        tiny.trainer(tmp_path, "bert", forget=rows)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        {"per_device_train_batch_size": 0},
        {"gradient_accumulation_steps": 0},
        {"generator_temperature": 0.0},
        {"mix_temperature": -1.0},
        {"real_temperature": float("nan")},
        {"sharpen_temperature": 0.0},
        {"alpha": 0.0},
        {"alpha": float("inf")},
        {"generator_interval": 0},
        {"mix_weight": -1.0},
        {"mix_weight": 0.0, "real_weight": 0.0},
        {"generator": "hostile"},
        {"label_mode": "sometimes"},
        {"mix_at": "logits"},
        {"batch_norm": "both"},
    ],
    ids=str,
)
def test_settings_outside_their_range(setting: dict[str, Any], tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(setting))}`"):
        MixUnlearnConfig(output_dir=str(tmp_path), use_cpu=True, **setting)


def test_arguments_of_another_class(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="must be a MixUnlearnConfig, got TrainingArguments"):
        tiny.MixUnlearnTrainer(
            tiny.build("resnet"),
            TrainingArguments(output_dir=str(tmp_path), use_cpu=True),
            forget_dataset=tiny.rows("resnet", 4),
            retain_dataset=tiny.rows("resnet", 4, 1),
        )


def test_pixels_of_a_text_model(tmp_path: Any) -> None:
    refused(ConfigError, "needs a model of images", tmp_path, "bert", mix_at="pixels")


def test_finished_run_is_not_overwritten_unless_asked(tmp_path: Any) -> None:
    trainer = tiny.train(tmp_path)
    trainer.save_model()
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(OutputExistsError, match="already holds a run"):
        tiny.train(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    tiny.train(tmp_path, overwrite_output_dir=True)
    trainer.train()  # its own run may go on


def test_unfinished_run_is_continued_not_restarted(tmp_path: Any) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1}
    tiny.train(tmp_path, max_steps=2, **settings)
    with pytest.raises(OutputExistsError, match="resume_from_checkpoint"):
        tiny.train(tmp_path, **settings)
    trainer = tiny.trainer(tmp_path, **settings)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 4


def test_a_checkpoint_cut_off_in_writing_is_passed_over(tmp_path: Any, caplog: Any) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1}
    whole = tiny.train(tmp_path, **settings)
    (tmp_path / "checkpoint-4" / "trainer_state.json").unlink()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text('{"global_st')
    resumed = tiny.trainer(tmp_path, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert "checkpoint-4 was not written to its end" in caplog.text
    assert tiny.equal(tiny.state(whole.model), tiny.state(resumed.model))


def test_nothing_to_resume_from(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="no complete checkpoint"):
        tiny.trainer(tmp_path).train(resume_from_checkpoint=True)


def test_checkpoint_without_a_generator(tmp_path: Any) -> None:
    tiny.train(tmp_path, generator="mixup", save_strategy="steps", save_steps=1)
    with pytest.raises(ConfigError, match="has no generator.safetensors"):
        tiny.trainer(tmp_path).train(resume_from_checkpoint=True)


def test_overwriting_removes_the_old_checkpoints(tmp_path: Any) -> None:
    tiny.train(tmp_path, save_strategy="steps", save_steps=1)
    tiny.train(tmp_path, save_strategy="steps", save_steps=1, max_steps=2, overwrite_output_dir=True)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


def test_holdout_without_labels_beside_labelled_rows(tmp_path: Any) -> None:
    """Its distances from its own predictions would make every floor 0."""
    holdout = {"holdout_dataset": tiny.rows("resnet", 12, 12).remove_columns("label")}
    refused(
        DataError, "`holdout_dataset` have none", tmp_path, forget=tiny.rows("resnet", 8, 8), trainer_kwargs=holdout
    )


def test_evaluation_sets_are_checked_before_training(tmp_path: Any) -> None:
    labels = {"eval_dataset": {"test": tiny.rows("resnet", 4, 4, (9,))}}
    refused(DataError, r"eval_dataset\['test'\]` have a label outside", tmp_path, trainer_kwargs=labels)
    rows = {"pixel_values": torch.randn(4, 3, 16, 16).tolist(), "label": [0] * 4}
    images = {"eval_dataset": datasets.Dataset.from_dict(rows)}
    refused(DataError, r"\(3, 16, 16\)", tmp_path, trainer_kwargs=images)


def test_a_head_of_another_size_than_the_config_says(tmp_path: Any) -> None:
    model = tiny.build("vit")
    model.classifier = torch.nn.Linear(16, 1)
    refused(DataError, "4 finite ones are expected", tmp_path, "vit", model=model)


def test_weights_that_are_not_finite_from_the_start(tmp_path: Any) -> None:
    model = tiny.build("vit")
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    refused(DataError, "0 of them finite", tmp_path, "vit", model=model)


def test_weights_that_break_at_the_last_step(tmp_path: Any) -> None:
    with pytest.raises(NonFiniteObjectiveError, match="not finite after the last step"):
        tiny.train(tmp_path, "vit", max_steps=1, learning_rate=1e38, lr_scheduler_type="constant")


def test_labels_missing_in_a_plain_data_set(tmp_path: Any) -> None:
    rows = [dict(row, label=-100 if i % 2 else 0) for i, row in enumerate(tiny.rows("resnet", 6).with_format("numpy"))]
    refused(DataError, "A row has no label", tmp_path, forget=rows, label_mode="labels")


def test_non_finite_objective_stops_names_the_term_and_keeps_the_last_checkpoint(tmp_path: Any) -> None:
    trainer = tiny.trainer(tmp_path, save_strategy="steps", save_steps=1, num_train_epochs=3)
    healthy = trainer.unlearning_loss

    def poisoned(*args: Any) -> torch.Tensor:
        if trainer.state.global_step == 3:
            with torch.no_grad():
                trainer.model.classifier[-1].bias.fill_(float("nan"))
        return healthy(*args)

    trainer.unlearning_loss = poisoned
    with pytest.raises(NonFiniteObjectiveError, match="`mix_loss` is nan at step 4"):
        trainer.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-1",
        "checkpoint-2",
        "checkpoint-3",
    ]
    kept = AutoModelForImageClassification.from_pretrained(tmp_path / "checkpoint-3")
    assert all(torch.isfinite(parameter).all() for parameter in kept.parameters())

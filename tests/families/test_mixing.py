"""Where samples are mixed and where features come from: what is refused, and what can be set."""

from typing import Any

import pytest
import tiny
import torch
import transformers

from mixunlearn_hf.errors import ConfigError, DataError, UnsupportedModelError
from mixunlearn_hf.families import EmbeddingSite, Family, FeatureLayer, PixelSite, check_mixing, family_of
from mixunlearn_hf.families.text import TokenFamily


@pytest.mark.parametrize("name", tiny.IMAGE_MODELS)
def test_pixels_are_mixed_as_the_paper_mixes_them(name: str) -> None:
    model = tiny.build(name)
    forget, retain = torch.randn(2, 2, 1, tiny.SIZE, tiny.SIZE)
    with torch.no_grad():
        logits = PixelSite().run(model, {"pixel_values": forget}, lambda pixels: (pixels + retain) / 2)
        torch.testing.assert_close(logits, model(pixel_values=(forget + retain) / 2).logits)


# ---- features ----


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(None, 0), ("0", 0), ("1", 1), ("-1", 1), ("bert.encoder.layer.1", 1)],
)
def test_feature_layer_is_a_number_or_a_name(layer: str | None, expected: int) -> None:
    model = tiny.build("bert")
    assert FeatureLayer.find(family_of(model), model, layer) == FeatureLayer(model.bert.encoder.layer[expected])


@pytest.mark.parametrize("layer", ["2", "-3", "bert.encoder.layer.2", "middle"])
def test_feature_layer_that_does_not_exist(layer: str) -> None:
    model = tiny.build("bert")
    with pytest.raises(ConfigError, match="feature_layer=.*0 to 1"):
        FeatureLayer.find(family_of(model), model, layer)


def test_trainer_takes_features_from_the_layer_that_is_named(tmp_path: Any) -> None:
    first, last = (tiny.trainer(tmp_path / layer, "resnet", feature_layer=layer) for layer in ("0", "-1"))
    assert (first.generator.mixblock.channels, last.generator.mixblock.channels) == (8, 12)
    with pytest.raises(ConfigError, match="7"):
        tiny.trainer(tmp_path, "resnet", feature_layer="7")


@pytest.mark.parametrize(("name", "layer"), [("resnet", "classifier"), ("bert", "bert.pooler"), ("bert", "")])
def test_layers_without_features(tmp_path: Any, name: str, layer: str) -> None:
    with pytest.raises(ConfigError, match="Choose another `feature_layer`"):
        tiny.trainer(tmp_path, name, feature_layer=layer)


# ---- families that do not fit ----


class _Wrong(TokenFamily):
    model_types = ()


def check(family: Family, name: str) -> None:
    model, row = tiny.build(name), {key: value[:1] for key, value in batch(name).items()}
    check_mixing(family, EmbeddingSite(family, model), model, row)


def batch(name: str) -> dict[str, torch.Tensor]:
    if name in tiny.IMAGE_MODELS:
        return {"pixel_values": torch.randn(2, 1, tiny.SIZE, tiny.SIZE)}
    ids = torch.randint(2, tiny.VOCABULARY, (2, 7))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", tiny.MODELS)
def test_registered_families_fit(name: str) -> None:
    check(family_of(tiny.build(name)), name)


def test_embedding_that_only_knows_positions_is_not_the_sample() -> None:
    class Positions(_Wrong):
        def embedding_module(self, model: Any) -> Any:
            return model.bert.embeddings.position_embeddings

    with pytest.raises(UnsupportedModelError, match="rows first"):
        check(Positions(tiny.build("bert")), "bert")


def test_embedding_behind_which_the_sample_is_read_again() -> None:
    class Types(_Wrong):
        def embedding_module(self, model: Any) -> Any:
            return model.bert.embeddings.token_type_embeddings

    with pytest.raises(UnsupportedModelError, match="elsewhere"):
        check(Types(tiny.build("bert")), "bert")


def test_embedding_that_runs_several_times() -> None:
    class Activation(_Wrong):
        def embedding_module(self, model: Any) -> Any:
            shared = model.bert.encoder.layer[0].intermediate.intermediate_act_fn
            model.bert.encoder.layer[1].intermediate.intermediate_act_fn = shared
            return shared

    with pytest.raises(UnsupportedModelError, match="2 times"):
        check(Activation(tiny.build("bert")), "bert")


def test_sequences_of_a_family_of_maps() -> None:
    class Maps(Family):
        embedding_paths = ("embeddings.patch_embeddings",)

    with pytest.raises(UnsupportedModelError, match="SequenceFamily"):
        check(Maps(tiny.build("vit")), "vit")


def test_unsupported_model_names_what_to_write() -> None:
    with pytest.raises(UnsupportedModelError, match="register_family") as caught:
        family_of(torch.nn.Linear(2, 2))
    assert "embedding_module" in str(caught.value) and "resnet" in str(caught.value)
    assert "model_classes = (Linear,)" in str(caught.value)


# ---- text models without a family of their own ----

_SMALL = {"vocab_size": tiny.VOCABULARY, "num_labels": tiny.CLASSES, "pad_token_id": 0, "eos_token_id": 2}
_ENCODER = {**_SMALL, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
_SEQ2SEQ = {
    **{**_SMALL, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "bos_token_id": 1},
}


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("Camembert", {**_ENCODER, "max_position_embeddings": 32}),
        ("RoFormer", {**_ENCODER, "max_position_embeddings": 32}),
        ("Phi", {**_ENCODER, "bos_token_id": 1}),
        ("OPT", {**_SMALL, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 16}),
    ],
)
def test_text_models_without_a_family_are_tried(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, model: str, settings: dict[str, Any]
) -> None:
    config = getattr(transformers, f"{model}Config")(**settings)
    trainer = tiny.train(
        tmp_path, "bert", model=getattr(transformers, f"{model}ForSequenceClassification")(config), max_steps=2
    )
    assert isinstance(trainer._family, TokenFamily)
    assert f"No family is registered for {model}ForSequenceClassification" in caplog.text


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("Bart", {**_SEQ2SEQ, "max_position_embeddings": 32}),  # embeds twice, once a side
        ("XLNet", {**_SMALL, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 16}),  # positions before rows
    ],
)
def test_text_models_that_do_not_fit_are_refused(tmp_path: Any, model: str, settings: dict[str, Any]) -> None:
    config = getattr(transformers, f"{model}Config")(**settings)
    with pytest.raises((UnsupportedModelError, DataError)):
        tiny.trainer(tmp_path, "bert", model=getattr(transformers, f"{model}ForSequenceClassification")(config))

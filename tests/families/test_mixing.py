"""Where samples are mixed and where features come from: what is refused, and what can be set."""

from typing import Any

import pytest
import tiny
import torch
import transformers

from mixunlearn_hf.errors import ConfigError, DataError, UnsupportedModelError
from mixunlearn_hf.families import (
    EmbeddingSite,
    Family,
    FeatureLayer,
    PixelSite,
    check_mixing,
    family_of,
    register_family,
)
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
def test_modules_that_are_no_part_of_a_layer(tmp_path: Any, name: str, layer: str) -> None:
    with pytest.raises(ConfigError, match="none of the layers"):
        tiny.trainer(tmp_path, name, feature_layer=layer)


def test_a_number_may_be_one(tmp_path: Any) -> None:
    assert tiny.trainer(tmp_path, "resnet", feature_layer=1).generator.mixblock.channels == 12


def test_parts_of_layers_without_features(tmp_path: Any) -> None:
    model = tiny.build("bert")
    model.bert.encoder.layer[0].idle = torch.nn.Identity()
    with pytest.raises(ConfigError, match="does not run"):
        tiny.trainer(tmp_path, "bert", model=model, feature_layer="bert.encoder.layer.0.idle")


# ---- families that do not fit ----


class _Wrong(TokenFamily):
    model_types = ()


def check(family: Family, name: str, count: int = 7) -> bool:
    model, rows = tiny.build(name), batch(name, count)
    site = EmbeddingSite(family, model)
    row, other = ({key: value[[index]] for key, value in rows.items()} for index in (0, 1))
    return check_mixing(family, site, model, row, other)


def batch(name: str, count: int) -> dict[str, torch.Tensor]:
    if name in tiny.IMAGE_MODELS:
        return {"pixel_values": torch.randn(2, 1, tiny.SIZE, tiny.SIZE)}
    ids = torch.randint(2, tiny.VOCABULARY, (2, count))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", tiny.MODELS)
def test_registered_families_fit(name: str) -> None:
    assert check(family_of(tiny.build(name)), name)


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

    for count in (1, 2, 7):
        with pytest.raises(UnsupportedModelError, match="elsewhere"):
            check(Types(tiny.build("bert")), "bert", count)


def test_a_part_of_the_sample_that_goes_another_way() -> None:
    class Leaking(torch.nn.Module):
        """A tenth of what it says comes by another way."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.other, self.head = (
                torch.nn.Conv2d(1, 4, 3),
                torch.nn.Conv2d(1, 4, 3),
                torch.nn.Linear(4, 3),
            )

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.head((self.stem(pixel_values).relu() + self.other(pixel_values).relu() / 10).mean((2, 3)))

    class Stem(Family):
        embedding_paths = ("stem",)

    model, rows = Leaking(), torch.randn(2, 1, 1, 8, 8)
    site = EmbeddingSite(Stem(model), model)
    with pytest.raises(UnsupportedModelError, match="elsewhere"):
        check_mixing(Stem(model), site, model, *({"pixel_values": row} for row in rows))
    assert not check_mixing(Stem(model), site, model, *({"pixel_values": torch.zeros(1, 1, 8, 8)} for _ in rows))


def test_a_refused_model_is_left_as_it_was(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Types(_Wrong):
        def embedding_module(self, model: Any) -> Any:
            return model.bert.embeddings.token_type_embeddings

    monkeypatch.setattr("mixunlearn_hf.trainer.mixunlearn.family_of", Types)
    model = tiny.build("bert").train()
    model.bert.pooler.eval()
    with pytest.raises(UnsupportedModelError, match="elsewhere"):
        tiny.trainer(tmp_path, "bert", model=model)
    assert not model.bert.embeddings.token_type_embeddings._forward_hooks
    assert model.training and not model.bert.pooler.training


def test_what_the_model_changes_in_place_is_mixed_as_it_was_embedded(tmp_path: Any) -> None:
    """With batch norm, retain rows pass first and are mixed later."""

    class InPlace(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 3)
            self.norm, self.head = torch.nn.BatchNorm2d(4), torch.nn.Linear(4, tiny.CLASSES)

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            embeddings = self.stem(pixel_values)
            embeddings.mul_(2).relu_()
            return self.head(self.norm(self.body(embeddings)).relu().mean((2, 3)))

    @register_family
    class InPlaceFamily(Family):
        model_classes = (InPlace,)
        embedding_paths = ("stem",)

        def layers(self, model: Any) -> list[Any]:
            return [model.body]

    trainer = tiny.trainer(tmp_path, "resnet", model=InPlace(), generator="mixup")
    rows = [torch.randn(1, 1, 8, 8) for _ in range(2)]
    kept: list[torch.Tensor] = []
    for row in rows:
        trainer._site.run(trainer.model, {"pixel_values": row}, lambda one: kept.append(one) or one)
    for row, embedding in zip(rows, kept, strict=True):
        torch.testing.assert_close(embedding, trainer.model.stem(row))


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


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ({}, "neither: a family has the methods"),
        ({"embedding_paths": ("stem",)}, "none of the paths"),
        ({"embedding_paths": ("embedder",), "layers": lambda self, model: []}, r"gave \[\]"),
        ({"embedding_paths": ("embedder",), "layers": lambda self, model: model.resnet.encoder}, "ResNetEncoder"),
        ({"embedding_module": lambda self, model: "resnet.embedder"}, "gave a str"),
    ],
)
def test_families_that_are_not_whole(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, family: dict[str, Any], reason: str
) -> None:
    made = type("Made", (Family,), {"layer_paths": ("encoder.stages",), **family})
    monkeypatch.setattr("mixunlearn_hf.trainer.mixunlearn.family_of", made)
    with pytest.raises(UnsupportedModelError, match=reason):
        tiny.trainer(tmp_path, "resnet")


def test_family_of_no_model() -> None:
    with pytest.raises(ConfigError, match="names no models"):
        register_family(type("Nothing", (Family,), {}))


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
        ("T5", {**_SMALL, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}),
        ("Longformer", {**_ENCODER, "max_position_embeddings": 64, "attention_window": [8, 8]}),  # pads before
        ("XLNet", {**_SMALL, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 16}),  # positions before rows
    ],
)
def test_text_models_that_do_not_fit_are_refused(tmp_path: Any, model: str, settings: dict[str, Any]) -> None:
    config = getattr(transformers, f"{model}Config")(**settings)
    with pytest.raises((UnsupportedModelError, DataError)):
        tiny.trainer(tmp_path, "bert", model=getattr(transformers, f"{model}ForSequenceClassification")(config))

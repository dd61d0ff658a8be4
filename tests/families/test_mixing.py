"""Every family mixes where it says it does."""

import pytest
import tiny
import torch

from mixunlearn_hf.errors import UnsupportedModelError
from mixunlearn_hf.families import EmbeddingSite, PixelSite, extract_features, family_of
from mixunlearn_hf.mixblock import mix


def batch(name: str, count: int, seed: int, length: int = 7) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    if name in tiny.IMAGE_MODELS:
        return {"pixel_values": torch.randn(count, 1, tiny.SIZE, tiny.SIZE)}
    ids = torch.randint(2, tiny.VOCABULARY, (count, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_mixing_with_mask_0_or_1_gives_exactly_one_of_the_two_rows(name: str, weight: float) -> None:
    model = tiny.build(name)
    family = family_of(model)
    site = EmbeddingSite(family, model)
    forget, retain = batch(name, 3, seed=1), batch(name, 3, seed=2)
    inputs = {
        key: torch.cat([forget[key], retain[key], value]) for key, value in family.mixed_inputs(forget, retain).items()
    }

    def mixed(embeddings: torch.Tensor) -> torch.Tensor:
        first, second, _ = embeddings.chunk(3)
        mask = torch.full((3, *site.positions(embeddings)), weight)
        return torch.cat([first, second, mix(first, second, mask, site.channel_dim)])

    with torch.no_grad():
        logits = site.run(model, inputs, mixed)
        expected = model(**(forget if weight == 1 else retain)).logits
    torch.testing.assert_close(logits[6:], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[:3], model(**forget).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", tiny.IMAGE_MODELS)
def test_pixels_are_mixed_as_the_paper_mixes_them(name: str) -> None:
    model = tiny.build(name)
    forget, retain = batch(name, 2, seed=1), batch(name, 2, seed=2)
    average = {"pixel_values": (forget["pixel_values"] + retain["pixel_values"]) / 2}
    with torch.no_grad():
        logits = PixelSite().run(model, forget, lambda pixels: (pixels + retain["pixel_values"]) / 2)
        torch.testing.assert_close(logits, model(**average).logits)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_features_are_those_of_the_middle_layer_and_nothing_behind_it_runs(name: str) -> None:
    model = tiny.build(name)
    family = family_of(model)
    inputs = batch(name, 2, seed=1)
    calls = []
    model.classifier.register_forward_hook(lambda *_: calls.append("head"))
    features = extract_features(family, model, inputs)
    assert features.dtype == torch.float32 and features.shape[0] == 2 and not features.requires_grad
    assert calls == []
    seen = []
    family.feature_module(model).register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        model(**inputs)
    output = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    torch.testing.assert_close(features, family.features(output))


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_mixed_text_attends_to_the_union_of_both_rows(name: str) -> None:
    family = family_of(tiny.build(name))
    forget, retain = batch(name, 1, seed=1), batch(name, 1, seed=2)
    forget["attention_mask"][0, 3:] = 0
    retain["attention_mask"][0, 5:] = 0
    mixed = family.mixed_inputs(forget, retain)
    assert mixed["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0]]


def test_unsupported_model_names_what_to_write() -> None:
    model = torch.nn.Linear(2, 2)
    with pytest.raises(UnsupportedModelError, match="register_family") as caught:
        family_of(model)
    assert "embedding_module" in str(caught.value) and "resnet" in str(caught.value)

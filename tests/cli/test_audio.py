"""Audio classifiers on the command line: waveforms in Parquet files, of users, and no tool that decodes audio."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from command_line import CANARY
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from mixunlearn_hf.cli.options import DataOptions
from mixunlearn_hf.cli.request import load_model

MixUnlearn = Callable[..., tuple[int, str, str]]
KINDS = ["bell", "horn", "rain"]
PLAIN = {"use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "report_to": "none"}
SHARED = {"id2label": dict(enumerate(KINDS)), "label2id": {kind: label for label, kind in enumerate(KINDS)}}
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, **SHARED}
WAVES = {
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    **TINY,
}


def wav2vec2() -> tuple[PreTrainedModel, Any]:
    return Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**WAVES)), Wav2Vec2FeatureExtractor(sampling_rate=8000)


def hubert_with_a_mask() -> tuple[PreTrainedModel, Any]:
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True)
    return HubertForSequenceClassification(HubertConfig(feat_extract_norm="layer", **WAVES)), extractor


def ast() -> tuple[PreTrainedModel, Any]:
    config = ASTConfig(num_mel_bins=16, max_length=24, patch_size=8, frequency_stride=8, time_stride=8, **TINY)
    return ASTForAudioClassification(config), ASTFeatureExtractor(num_mel_bins=16, max_length=24)


def whisper() -> tuple[PreTrainedModel, Any]:
    config = WhisperConfig(
        num_mel_bins=16,
        max_source_positions=50,
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        vocab_size=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        classifier_proj_size=8,
        **SHARED,
    )
    return WhisperForAudioClassification(config), WhisperFeatureExtractor(feature_size=16, chunk_length=1)


@pytest.fixture(params=[wav2vec2, hubert_with_a_mask, ast, whisper], ids=lambda build: build.__name__)
def request_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """`model`, `train.parquet`, `test.parquet`, `request.yaml`: sounds of different length, and an untrained model."""
    torch.manual_seed(0)
    for one in request.param():
        one.save_pretrained(tmp_path / "model")
    rng = np.random.default_rng(0)
    features = datasets.Features(
        waveform=datasets.List(datasets.Value("float32")),
        user=datasets.Value("string"),
        kind=datasets.ClassLabel(names=KINDS),
    )
    labels = [i % 3 for i in range(36)]
    columns = {
        "waveform": [
            np.sin(np.arange(rng.integers(1200, 2400)) * (label + 1) / 10 + rng.uniform()) for label in labels
        ],
        "user": [f"{CANARY}-{i % 9}" for i in range(36)],
        "kind": labels,
    }
    rows = datasets.Dataset.from_dict(columns, features=features)
    settings: dict[str, Any] = {"model": str(tmp_path / "model"), "classes": ["horn"], "max_steps": 2, **PLAIN}
    settings |= {"input_column": "waveform", "per_device_train_batch_size": 4, "output_dir": str(tmp_path / "out")}
    for split, part in (("train", rows.select(range(27))), ("test", rows.select(range(27, 36)))):
        part.to_parquet(tmp_path / f"{split}.parquet")
        settings[f"{split}_file"] = str(tmp_path / f"{split}.parquet")
    (tmp_path / "request.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "request.yaml"


def test_sounds_are_forgotten(request_file: Path, mixunlearn: MixUnlearn) -> None:
    words = ["--config", request_file, "--json"]
    code, out, err = mixunlearn("plan", *words)
    assert code == 0, out + err
    assert json.loads(out)["request"]["rows"] == {"forget": 9, "retain": 18, "test": 9}
    code, out, err = mixunlearn("run", *words)
    assert code == 0, out + err
    assert CANARY not in out + err and "sampling_rate" not in err
    measured = json.loads(out)["evaluation"]["after"]
    assert measured["sets"]["forget"]["rows"] == 9
    saved = request_file.parent / "out"
    code, out, err = mixunlearn("evaluate", *words, "--model", saved)
    assert code == 0 and json.loads(out)["evaluation"]["model"] == measured, out + err
    AutoModelForAudioClassification.from_pretrained(saved)
    AutoFeatureExtractor.from_pretrained(saved)


def test_a_row_without_a_sound_is_named_by_its_position(request_file: Path, mixunlearn: MixUnlearn) -> None:
    path = request_file.parent / "train.parquet"
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(request_file.parent / "read"))
    broken = rows.map(
        lambda row, i: {"waveform": row["waveform"] if i else []}, with_indices=True, keep_in_memory=True
    )
    broken.to_parquet(path)
    code, out, err = mixunlearn("run", "--config", request_file)
    assert code == 2 and "Row 0 of `" in err and "holds no sound" in err and CANARY not in out + err


def test_what_encodes_sounds_is_found_beside_the_model(request_file: Path) -> None:
    data = DataOptions(model=str(request_file.parent / "model"))
    model, extractor = load_model(data)
    assert extractor.model_input_names[0] == model.main_input_name
    (request_file.parent / "model" / "preprocessor_config.json").unlink()
    assert load_model(data)[1] is None

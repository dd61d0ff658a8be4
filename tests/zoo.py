"""One tiny random model of every family, with rows it can learn, and what does not hold for whom."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import tiny
import torch
import transformers as t
from timm_without_torchvision import timm_wrapper
from transformers import PreTrainedModel

C, SIZE = tiny.CLASSES, tiny.SIZE
_WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
_PATCHES = {**_WIDTH, "image_size": SIZE, "patch_size": 4, "num_channels": 1, "num_labels": C}
_TEXT = {**_WIDTH, "vocab_size": tiny.VOCABULARY, "num_labels": C, "max_position_embeddings": 32, "pad_token_id": 0}
_DECODER = {**_TEXT, "num_key_value_heads": 1, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
_STAGES = {"num_channels": 1, "depths": [1, 1], "num_labels": C}
_SWIN = {**_STAGES, "image_size": SIZE, "patch_size": 2, "embed_dim": 8, "num_heads": [2, 2], "window_size": 4}
_WAVES = {
    **{**_WIDTH, "num_labels": C, "conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8)},
    **{"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8},
    **{"feat_extract_norm": "layer", "mask_time_length": 2},  # this kind takes attention masks
}
_WHISPER = {
    **{"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 8},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "max_source_positions": 16},
    **{"num_labels": C, "classifier_proj_size": 8, "vocab_size": 50, "pad_token_id": 0, "decoder_start_token_id": 1},
    **{"bos_token_id": 1, "eos_token_id": 2},
}


@dataclass(frozen=True)
class Entry:
    """A model of a family: how it is built, and of which kind its rows are."""

    model_type: str
    kind: str  # image, text, waveform or spectrogram
    build: Callable[[], PreTrainedModel]
    shape: tuple[int, ...] = ()  # of a spectrogram
    lora: str | list[str] = "all-linear"  # where adapters go
    limits: tuple[tuple[str, str], ...] = ()  # what does not hold, and why
    fan_in_fan_out: bool = False  # of the layers adapters go to

    def limit(self, what: str) -> str | None:
        return dict(self.limits).get(what)


def _timm(architecture: str, **settings: Any) -> PreTrainedModel:
    wrapper = timm_wrapper()
    settings = {"in_chans": 1, **settings}
    config = wrapper.TimmWrapperConfig(architecture=architecture, num_labels=C, model_args=settings)
    return wrapper.TimmWrapperForImageClassification(config)


def _of(model: str, config: str, **settings: Any) -> Callable[[], PreTrainedModel]:
    return lambda: getattr(t, model)(getattr(t, config)(**settings))


def _text(model_type: str, prefix: str, limits: Any = (), **settings: Any) -> Entry:
    build = _of(f"{prefix}ForSequenceClassification", f"{prefix}Config", **settings)
    return Entry(model_type, "text", build, limits=limits)


CHECKPOINTING = "gradient checkpointing"
NO_CHECKPOINTING = ((CHECKPOINTING, "transformers does not offer it for this architecture"),)
BATCH_NORM = ((CHECKPOINTING, "refused with batch norm, whose rows differ between forward and backward"),)
CONV = {"kind": "image", "limits": NO_CHECKPOINTING, "lora": r".*(attention|_1x1|layer\.0)\.convolution|.*expand_conv"}
_IMAGE = "ForImageClassification"

ZOO: dict[str, Entry] = {
    # ---- images ----
    "resnet": Entry("resnet", build=tiny.resnet, **CONV),
    "regnet": Entry(
        "regnet",
        build=_of(
            "RegNet" + _IMAGE, "RegNetConfig", **_STAGES, embedding_size=8, hidden_sizes=[8, 16], groups_width=8
        ),
        **CONV,
    ),
    "convnext": Entry(
        "convnext",
        build=_of("ConvNext" + _IMAGE, "ConvNextConfig", **_STAGES, num_stages=2, hidden_sizes=[8, 16], patch_size=2),
        **{**CONV, "lora": "all-linear"},
    ),
    "convnextv2": Entry(
        "convnextv2",
        build=_of(
            "ConvNextV2" + _IMAGE, "ConvNextV2Config", **_STAGES, num_stages=2, hidden_sizes=[8, 16], patch_size=2
        ),
        **{**CONV, "lora": "all-linear"},
    ),
    "mobilenet_v2": Entry(
        "mobilenet_v2",
        build=_of(
            "MobileNetV2" + _IMAGE,
            "MobileNetV2Config",
            **{"num_channels": 1, "depth_multiplier": 0.25, "min_depth": 4, "num_labels": C, "image_size": SIZE},
        ),
        **{**CONV, "limits": (*NO_CHECKPOINTING, ("PEFT", "with `tf_padding` it reads what adapters hide"))},
    ),
    "efficientnet": Entry(
        "efficientnet",
        build=_of(
            "EfficientNet" + _IMAGE,
            "EfficientNetConfig",
            **{
                "num_channels": 1,
                "num_labels": C,
                "image_size": SIZE,
                "hidden_dim": 320,
                "initializer_range": 0.2,
                "kernel_sizes": [3, 3],
            },
            **{"in_channels": [32, 64], "out_channels": [64, 96], "strides": [1, 2], "num_block_repeats": [1, 1]},
            **{"expand_ratios": [1, 6], "width_coefficient": 0.25, "depth_coefficient": 0.25},
            depthwise_padding=[],
        ),
        **CONV,
    ),
    "vit": Entry("vit", "image", tiny.vit),
    "deit": Entry("deit", "image", _of("DeiT" + _IMAGE, "DeiTConfig", **_PATCHES)),
    "deit (distilled)": Entry("deit", "image", _of(f"DeiT{_IMAGE}WithTeacher", "DeiTConfig", **_PATCHES)),
    "beit": Entry(
        "beit",
        "image",
        _of("Beit" + _IMAGE, "BeitConfig", **_PATCHES, out_indices=[0, 1], use_relative_position_bias=True),
    ),
    "dinov2": Entry("dinov2", "image", _of("Dinov2" + _IMAGE, "Dinov2Config", **{**_PATCHES, "mlp_ratio": 2})),
    "dinov2_with_registers": Entry(
        "dinov2_with_registers",
        "image",
        _of("Dinov2WithRegisters" + _IMAGE, "Dinov2WithRegistersConfig", **{**_PATCHES, "mlp_ratio": 2}),
    ),
    "swin": Entry("swin", "image", _of("Swin" + _IMAGE, "SwinConfig", **_SWIN)),
    "swinv2": Entry("swinv2", "image", _of("Swinv2" + _IMAGE, "Swinv2Config", **_SWIN)),
    "timm resnet": Entry(
        "timm_wrapper", "image", lambda: _timm("resnet10t"), limits=BATCH_NORM, lora=r".*layer\d.*\.conv\d"
    ),
    "timm vit": Entry(
        "timm_wrapper",
        "image",
        lambda: _timm("vit_tiny_patch16_224", img_size=SIZE, patch_size=4, embed_dim=16, depth=2, num_heads=2),
        lora=r".*\.(qkv|proj)",
    ),
    "timm swin": Entry(
        "timm_wrapper",
        "image",
        lambda: _timm(
            "swin_tiny_patch4_window7_224",
            **{"img_size": SIZE, "patch_size": 2, "embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2)},
            window_size=4,
        ),
        lora=r".*\.(qkv|proj)",
    ),
    "timm convnext": Entry(
        "timm_wrapper",
        "image",
        lambda: _timm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), patch_size=1),
        lora=r".*\.fc\d",
    ),
    # ---- text ----
    "bert": _text("bert", "Bert", **_TEXT),
    "distilbert": Entry("distilbert", "text", tiny.distilbert, lora=["q_lin", "v_lin"]),
    "roberta": _text("roberta", "Roberta", **_TEXT),
    "xlm-roberta": _text("xlm-roberta", "XLMRoberta", **_TEXT),
    "albert": _text("albert", "Albert", NO_CHECKPOINTING, **_TEXT, embedding_size=8),
    "electra": _text("electra", "Electra", **_TEXT, embedding_size=8),
    "mpnet": _text("mpnet", "MPNet", NO_CHECKPOINTING, **{**_TEXT, "pad_token_id": 1}),
    "deberta": _text("deberta", "Deberta", **_TEXT),
    "deberta-v2": _text(
        "deberta-v2", "DebertaV2", **_TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8
    ),
    "modernbert": _text(
        "modernbert",
        "ModernBert",
        **{**_TEXT, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
        **{"global_attn_every_n_layers": 2, "local_attention": 8},
    ),
    "gpt2": Entry(
        "gpt2",
        "text",
        _of(
            "GPT2ForSequenceClassification",
            "GPT2Config",
            **{"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": tiny.VOCABULARY},
            **{"num_labels": C, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        ),
        lora=["c_attn", "c_proj"],
        fan_in_fan_out=True,
    ),
    "llama": _text("llama", "Llama", **_DECODER),
    "mistral": _text("mistral", "Mistral", **_DECODER),
    "qwen2": _text("qwen2", "Qwen2", **_DECODER),
    "qwen3": _text("qwen3", "Qwen3", **_DECODER),
    "gemma": _text("gemma", "Gemma", **_DECODER),
    "gemma2": _text("gemma2", "Gemma2", **_DECODER),
    "gemma3_text": Entry(
        "gemma3_text", "text", _of("Gemma3TextForSequenceClassification", "Gemma3TextConfig", **_DECODER)
    ),
    # ---- audio ----
    "wav2vec2": Entry(
        "wav2vec2",
        "waveform",
        _of("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", **_WAVES, num_feat_extract_layers=2),
    ),
    "hubert": Entry(
        "hubert",
        "waveform",
        _of("HubertForSequenceClassification", "HubertConfig", **_WAVES, num_feat_extract_layers=2),
    ),
    "audio-spectrogram-transformer": Entry(
        "audio-spectrogram-transformer",
        "spectrogram",
        _of(
            "ASTForAudioClassification",
            "ASTConfig",
            **{**_WIDTH, "num_labels": C, "patch_size": 4, "frequency_stride": 4, "time_stride": 4},
            **{"max_length": 32, "num_mel_bins": 16},
        ),
        shape=(32, 16),
    ),
    "whisper": Entry(
        "whisper",
        "spectrogram",
        _of("WhisperForAudioClassification", "WhisperConfig", **_WHISPER),
        shape=(8, 32),
        lora=["q_proj", "v_proj"],
    ),
}


def build(name: str, seed: int = 0) -> PreTrainedModel:
    """A random model. Its batch norm has statistics that fit its rows, else all of them would look alike to it."""
    torch.manual_seed(seed)
    model = ZOO[name].build()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    if layers:
        images = torch.tensor(rows(name, 32)["pixel_values"])
        for layer in layers:
            layer.momentum = 1.0
        with torch.no_grad():
            model.train()(pixel_values=images)
        for layer in layers:
            layer.momentum = 0.1
    return model.eval()


def rows(name: str, count: int, seed: int = 0, classes: tuple[int, ...] = tuple(range(C))) -> datasets.Dataset:
    """Rows of different length that a tiny model can learn: the class sets the mean, the tokens or the pitch."""
    entry = ZOO[name]
    if entry.kind == "image":
        return tiny.rows("resnet", count, seed, classes)
    if entry.kind == "text":
        return tiny.rows("bert", count, seed, classes)
    rng = np.random.default_rng(seed)
    labels = [classes[i % len(classes)] for i in range(count)]
    if entry.kind == "waveform":
        waves = [
            np.sin(np.arange(rng.integers(300, 500)) * (0.05 + 0.2 * label)) + rng.normal() / 5 for label in labels
        ]
        values = [wave.astype("float32") for wave in waves]
        masks = [[1] * len(wave) for wave in waves]
        return datasets.Dataset.from_dict({"input_values": values, "attention_mask": masks, "label": labels})
    values = rng.normal(size=(count, *entry.shape)).astype("float32") / 2
    for spectrogram, label in zip(values, labels, strict=True):
        spectrogram[2 * label : 2 * label + 2] += 1.5
    column = "input_features" if entry.model_type == "whisper" else "input_values"
    return datasets.Dataset.from_dict({column: list(values), "label": labels})


def collator(name: str, side: str = "right") -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    """Rows to a batch, padded on one side."""
    fill = {"input_ids": 1 if ZOO[name].model_type == "mpnet" else 0}

    def pad(values: list[Any], value: float) -> torch.Tensor:
        tensors = [torch.tensor(one) for one in values]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value, padding_side=side)

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {key: pad([row[key] for row in batch], fill.get(key, 0)) for key in batch[0]}

    return collate


def trainer(output_dir: Any, name: str, *, model: Any = None, side: str = "right", **config: Any) -> Any:
    """`tiny.trainer` on a model of the zoo."""
    return tiny.trainer(
        output_dir,
        model=build(name) if model is None else model,
        forget=rows(name, 6, seed=1, classes=(0,)),
        retain=rows(name, 20, seed=2, classes=(1, 2, 3)),
        collator=collator(name, side),
        **{"learning_rate": 5e-3, **config},
    )

# /// script
# requires-python = ">=3.10"
# dependencies = ["mixunlearn-hf"]
# ///
"""Make an audio classifier forget one kind of sound, and compare it with a model trained without that kind.

    python examples/unlearn_audio_classification.py

The sounds are made here and nothing is downloaded: six kinds, each with random pitch, length, loudness and noise. A
small Audio Spectrogram Transformer learns them from scratch, which takes most of the minute and a half of one CPU
thread. Writes the model that has forgotten, `model`, and `accuracy.json` to outputs/audio.

With a classifier and recordings of your own, step 2 of `main` stays as it is, and step 1 becomes

    model = AutoModelForAudioClassification.from_pretrained("my-classifier")  # Wav2Vec2, HuBERT, AST or Whisper
    extractor = AutoFeatureExtractor.from_pretrained("my-classifier")
    data = load_dataset("audiofolder", data_dir="recordings")  # recordings/train/bell/1.wav, .../test/horn/7.wav
    train, test = data["train"], data["test"]

Audio files are decoded by `torchcodec` and FFmpeg, which are to be installed, and resampled to the rate of the feature
extractor. A column of waveforms, lists of floats, is taken to have that rate already.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, List, Value, disable_progress_bars
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer, split_forget_retain

KINDS = ["tone", "chirp", "siren", "chord", "beeps", "noise"]
RATE = 16_000  # samples a second
FRAMES, BINS = 96, 32  # of a spectrogram: a hundredth of a second each, and mel frequencies
PLAIN = {
    "disable_tqdm": True,
    "logging_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,  # the model is too small for a GPU to help
    "dataloader_pin_memory": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forget", choices=KINDS, default="chirp", help="the kind of sound to forget")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="few sounds: shows that it runs, no more")
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/audio"))
    options = parser.parse_args()
    disable_progress_bar()
    disable_progress_bars()

    # 1. Sounds, and a classifier that has learned them.
    train, test = (make_sounds(8 if options.tiny else n, options.seed + i) for i, n in enumerate((200, 50)))
    extractor = ASTFeatureExtractor(sampling_rate=RATE, num_mel_bins=BINS, max_length=FRAMES, mean=0.0, std=1.5)
    print(f"1/3  training on {len(train):,} sounds of {len(KINDS)} kinds", flush=True)
    model, seconds = learn(train, extractor, options)
    models, spent = {"before": copy.deepcopy(model)}, {"before": seconds}

    # 2. Forget one kind. The feature extractor turns waveforms into what the model takes, a batch at a time.
    start = time.perf_counter()
    splits = split_forget_retain(train, classes=[options.forget])
    print(f"2/3  forgetting the kind {options.forget!r}, {len(splits['forget'])} sounds", flush=True)
    trainer = MixUnlearnTrainer(
        model,
        MixUnlearnConfig(
            str(options.output_dir / "model"),
            overwrite_output_dir=True,
            num_train_epochs=1 if options.tiny else 10,
            per_device_train_batch_size=16,  # 200 sounds to forget: small batches make enough steps
            learning_rate=2e-4,
            seed=options.seed,
            **PLAIN,
        ),
        forget_dataset=splits["forget"],
        retain_dataset=splits["retain"],
        processing_class=extractor,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model()  # with its feature extractor
    models["after"], spent["after"] = trainer.model, time.perf_counter() - start

    # 3. Compare with a model that never heard the kind.
    print(f"3/3  training without {options.forget!r}, for comparison\n", flush=True)
    models["retrained"], spent["retrained"] = learn(splits["retain"], extractor, options)
    unseen = split_forget_retain(test, classes=[options.forget])
    sets = {
        "forget": splits["forget"],
        "retain": splits["retain"],
        "test, forgotten kind": unseen["forget"],
        "test, other kinds": unseen["retain"],
    }
    results = {name: {"sounds": len(rows)} | accuracies(models, rows, extractor) for name, rows in sets.items()}
    print(f"{'accuracy on':<22}{'sounds':>8}" + "".join(f"{when:>12}" for when in models))
    for name, row in results.items():
        print(f"{name:<22}{row['sounds']:>8,}" + "".join(f"{row[when]:>12.1%}" for when in models))
    print(f"{'seconds':<30}" + "".join(f"{value:>12.1f}" for value in spent.values()))
    (options.output_dir / "accuracy.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten: {options.output_dir}/model, which has forgotten, and accuracy.json")


def make_sounds(of_each: int, seed: int) -> Dataset:
    """Sounds of all kinds: `waveform`, mono samples at `RATE`, and `label`."""
    rng = np.random.default_rng(seed)
    labels = [label for label in range(len(KINDS)) for _ in range(of_each)]
    features = Features({"waveform": List(Value("float32")), "label": ClassLabel(names=KINDS)})
    waveforms = [make_sound(KINDS[label], rng).astype(np.float32) for label in labels]
    return Dataset.from_dict({"waveform": waveforms, "label": labels}, features).shuffle(seed=seed)


def make_sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One sound of half a second to a second, `(samples,)`, in noise that is up to half as loud."""
    seconds = np.arange(int(RATE * rng.uniform(0.5, 1.0))) / RATE
    pitch = 400 * 2 ** rng.uniform(0, 2)  # 400 to 1600 Hz
    if kind == "chirp":  # rises by one or two octaves
        pitch = np.linspace(pitch, pitch * 2 ** rng.uniform(1, 2), len(seconds))
    elif kind == "siren":  # up and down
        pitch = pitch * 2 ** (rng.uniform(0.3, 0.6) * np.sin(2 * np.pi * rng.uniform(3, 6) * seconds))
    elif kind == "noise":  # around a pitch
        pitch = pitch * (1 + rng.normal(size=len(seconds)))
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, seconds.shape)) / RATE
    if kind == "chord":
        sound = sum(np.sin(step * phase) for step in (1, 5 / 4, 3 / 2, 2, 5 / 2, 3)) / 3
    elif kind == "beeps":  # a tone in short pieces
        sound = np.sin(phase) * ((seconds * rng.uniform(5, 10)) % 1 < 0.3)
    else:
        sound = np.sin(phase)
    noise = rng.normal(size=len(seconds)) * rng.uniform(0.02, 0.3)
    return rng.uniform(0.2, 0.9) * (sound + noise) / 2


def encode(sounds: Dataset, extractor: ASTFeatureExtractor) -> Dataset:
    """The same rows as spectrograms, `input_values` of shape `(FRAMES, BINS)`."""

    def spectrograms(rows: dict[str, list]) -> dict[str, list]:
        waveforms = [np.asarray(samples, dtype=np.float32) for samples in rows["waveform"]]
        return dict(extractor(waveforms, sampling_rate=RATE))

    return sounds.map(spectrograms, batched=True, remove_columns="waveform").with_format("torch")


def learn(
    sounds: Dataset, extractor: ASTFeatureExtractor, options: argparse.Namespace
) -> tuple[PreTrainedModel, float]:
    """A new classifier trained on some sounds, and the seconds that took."""
    start = time.perf_counter()
    set_seed(options.seed)
    config = ASTConfig(
        num_mel_bins=BINS,
        max_length=FRAMES,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        id2label=dict(enumerate(KINDS)),
        label2id={kind: label for label, kind in enumerate(KINDS)},
    )
    args = TrainingArguments(
        str(options.output_dir / "learning"),
        num_train_epochs=1 if options.tiny else 15,
        per_device_train_batch_size=32,
        learning_rate=1e-3,
        warmup_steps=30,
        seed=options.seed,
        **PLAIN,
    )
    trainer = Trainer(ASTForAudioClassification(config), args, train_dataset=encode(sounds, extractor))
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model, time.perf_counter() - start


@torch.no_grad()
def accuracies(
    models: dict[str, PreTrainedModel], sounds: Dataset, extractor: ASTFeatureExtractor
) -> dict[str, float]:
    """The share of the sounds that every model takes for what they are."""
    rows = encode(sounds, extractor)[:]
    return {
        when: (model.eval()(rows["input_values"]).logits.argmax(-1) == rows["label"]).float().mean().item()
        for when, model in models.items()
    }


if __name__ == "__main__":
    main()

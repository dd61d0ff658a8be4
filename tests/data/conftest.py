"""A small tokenizer, a small image processor and real pictures, built without a network."""

import io
from pathlib import Path

import datasets
import pytest
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, ViTImageProcessorPil

WORDS = ["[PAD]", "[UNK]", "the", "cat", "dog", "owl", "sleeps", "flies"]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=4, padding_side="right"
    )


@pytest.fixture
def image_processor() -> ViTImageProcessorPil:
    return ViTImageProcessorPil(size={"height": 8, "width": 8})


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty handwritten digits as PNG files, from scikit-learn."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    paths = []
    for number, pixels in enumerate(load_digits().images[:40]):
        buffer = io.BytesIO()
        Image.fromarray((pixels * 15).astype("uint8")).save(buffer, "PNG")
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(buffer.getvalue())
    return paths


@pytest.fixture(scope="session")
def digits(digit_files: list[Path]) -> datasets.Dataset:
    """The digits in memory, with a `row` number and a class name such as `"three"`."""
    from sklearn.datasets import load_digits

    names = "zero one two three four five six seven eight nine".split()
    return datasets.Dataset.from_dict(
        {
            "row": list(range(40)),
            "image": [{"bytes": path.read_bytes(), "path": None} for path in digit_files],
            "label": load_digits().target[:40].tolist(),
        },
        features=datasets.Features(
            row=datasets.Value("int64"), image=datasets.Image(), label=datasets.ClassLabel(names=names)
        ),
    )

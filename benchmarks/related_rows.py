"""Find planted copies of forget rows: which are found, and what else is.

    python benchmarks/related_rows.py --data data

Thresholds are chosen on one data set of a kind (CIFAR-10 training rows, SST-2) and measured on others (Fashion-MNIST,
CIFAR-10 test rows, AG News). Copies of forget rows are planted among other rows, each changed in one way. Every row
that is found and was not planted counts as a false one, though some are true copies that were in the data before.
"""

import argparse
import io
import json
import random
import string
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import imagehash
import numpy as np
import PIL.Image
import torch
from class_level import describe_environment, write
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
)
from transformers.utils import logging

from mixunlearn_hf import find_related, split_forget_retain

PACKAGES = ("imagehash", "datasketch", "pillow")
Row = dict[str, Any]


# ---- copies of images, as encoded bytes ----


def _open(encoded: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(encoded))


def _encoded(image: PIL.Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **(how or {"format": "PNG"}))
    return buffer.getvalue()


def _jpeg(encoded: bytes, rng: random.Random, quality: int) -> bytes:
    return _encoded(_open(encoded), format="JPEG", quality=quality)


def _shifted(encoded: bytes, rng: random.Random, pixels: int = 1, quality: int | None = None) -> bytes:
    """Moved in one of eight directions; what becomes free is black."""
    image = _open(encoded)
    x, y = rng.choice([(x, y) for x in (-pixels, 0, pixels) for y in (-pixels, 0, pixels) if x or y])
    moved = PIL.Image.new(image.mode, image.size)
    moved.paste(image, (x, y))
    return _encoded(moved) if quality is None else _encoded(moved, format="JPEG", quality=quality)


def _resized(encoded: bytes, rng: random.Random, factor: float) -> bytes:
    image = _open(encoded)
    size = (round(image.width * factor), round(image.height * factor))
    return _encoded(image.resize(size, PIL.Image.Resampling.BICUBIC))


def _brighter(encoded: bytes, rng: random.Random) -> bytes:
    return _encoded(_open(encoded).point(lambda value: min(255, int(value * 1.15 + 8))))


def _cropped(encoded: bytes, rng: random.Random) -> bytes:
    image = _open(encoded)
    inner = image.crop((1, 1, image.width - 1, image.height - 1))
    return _encoded(inner.resize(image.size, PIL.Image.Resampling.BICUBIC))


def _mirrored(encoded: bytes, rng: random.Random) -> bytes:
    return _encoded(_open(encoded).transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT))


IMAGE_COPIES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "the same bytes": lambda encoded, rng: encoded,
    "PNG again": lambda encoded, rng: _encoded(_open(encoded)),
    "JPEG, quality 90": partial(_jpeg, quality=90),
    "JPEG, quality 75": partial(_jpeg, quality=75),
    "JPEG, quality 50": partial(_jpeg, quality=50),
    "shifted by 1 pixel": _shifted,
    "shifted by 1 pixel, JPEG 75": partial(_shifted, quality=75),
    "resized x 2": partial(_resized, factor=2),
    "resized x 0.75": partial(_resized, factor=0.75),
    "brighter": _brighter,
    "shifted by 2 pixels": partial(_shifted, pixels=2),
    "cropped by 1 pixel, resized": _cropped,
    "mirrored": _mirrored,
}
OUT_OF_REACH = ("shifted by 2 pixels", "cropped by 1 pixel, resized", "mirrored")  # no threshold is chosen for these


# ---- copies of texts ----


def _recased(text: str, rng: random.Random) -> str:
    """Random case, punctuation at random places, more white space."""
    words = [word.upper() if rng.random() < 0.5 else word.capitalize() for word in text.split()]
    return "  ".join(word + rng.choice(["", "", ",", " -", "!"]) for word in words)


def _one_word(text: str, rng: random.Random, new: list[str] | None) -> str:
    """One word replaced by one of another text, or dropped where there is none."""
    words = text.split()
    place = rng.randrange(len(words))
    words[place : place + 1] = [rng.choice(new)] if new else []
    return " ".join(words)


def _typo(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text))
    return text[:place] + rng.choice(string.ascii_lowercase) + text[place + 1 :]


def _cut(text: str, rng: random.Random) -> str:
    words = text.split()
    return " ".join(words[: max(int(len(words) * 0.9), 1)])


def text_copies(texts: list[str]) -> dict[str, Callable[[str, random.Random], str]]:
    words = [word for text in texts for word in text.split()]
    return {
        "the same bytes": lambda text, rng: text,
        "case, punctuation, spaces": _recased,
        "a letter changed": _typo,
        "a word changed": partial(_one_word, new=words),
        "a word dropped": partial(_one_word, new=None),
        "the last tenth cut": _cut,
        "two words before": lambda text, rng: f"Update 1: {text}",
    }


# ---- data ----


def planted(
    rows: datasets.Dataset, forget_rows: int, others: int, copies: int, rng: random.Random
) -> tuple[datasets.DatasetDict, np.ndarray, list[str]]:
    """Forget rows, and a retain set of other rows and copies, shuffled; and the kind of copy of each, or ""."""
    column = "image" if "image" in rows.features else "text"
    rows = rows.select(range(forget_rows + others))
    if column == "image":
        stored = rows.cast_column(column, datasets.Image(decode=False))[column]
        values: list[Any] = [value["bytes"] for value in stored]
        kinds: dict[str, Callable[[Any, random.Random], Any]] = dict(IMAGE_COPIES)
    else:
        values = rows[column][:]
        kinds = dict(text_copies(values[forget_rows:]))
    usable = [place for place in range(forget_rows) if column == "image" or len(values[place].split()) > 3]
    retain = [(value, "") for value in values[forget_rows:]]
    for kind, change in kinds.items():
        retain += [(change(values[place], rng), kind) for place in rng.sample(usable, copies)]
    rng.shuffle(retain)

    def dataset(contents: list[Any]) -> datasets.Dataset:
        stored = [{"bytes": value, "path": None} for value in contents] if column == "image" else contents
        return datasets.Dataset.from_dict(
            {column: stored}, features=datasets.Features({column: rows.features[column]})
        )

    parts = {"forget": dataset(values[:forget_rows]), "retain": dataset([value for value, _ in retain])}
    return datasets.DatasetDict(parts), np.asarray([kind for _, kind in retain]), list(kinds)


def as_tokens(splits: datasets.DatasetDict) -> datasets.DatasetDict:
    """Texts as ids of their lower-case words."""
    ids: dict[str, int] = {}

    def encode(row: Row) -> Row:
        return {"input_ids": [ids.setdefault(word, 2 + len(ids)) for word in row["text"].lower().split()]}

    return datasets.DatasetDict({name: part.map(encode, remove_columns=["text"]) for name, part in splits.items()})


# ---- choosing thresholds ----


def chosen_for_images(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The fewest bits within which 99 % of the copies of every kind lie, but for those that are out of reach."""
    splits, kinds, names = planted(read(folder, "cifar10", "train"), *args.sizes, random.Random(args.seed))
    distance = distances(splits, kinds, image_threshold=127, image_correlation=None)
    needed = {
        kind: float(np.quantile(distance[kinds == kind], 0.99, method="higher"))
        for kind in names
        if kind not in OUT_OF_REACH
    }
    unplanted = {bits: int((distance[kinds == ""] <= bits).sum()) for bits in (20, 24, 28, 32, 40, 48, 56, 64)}
    return {
        "data": "CIFAR-10, training rows",
        "bits needed for 99 % of the copies": needed,
        "chosen": max(needed.values()),
        "unplanted rows within bits": unplanted,
        "unplanted rows": int((kinds == "").sum()),
    }


def chosen_correlation(args: argparse.Namespace) -> dict[str, Any]:
    """The lowest of some correlations at which no unplanted one of scikit-learn's digits, enlarged, is found."""
    from sklearn.datasets import load_digits

    small = [PIL.Image.fromarray((image * 255 / 16).astype(np.uint8)) for image in load_digits().images]
    stored = [
        {"bytes": _encoded(image.resize((32, 32), PIL.Image.Resampling.BICUBIC)), "path": None} for image in small
    ]
    digits = datasets.Dataset.from_dict({"image": stored}, features=datasets.Features({"image": datasets.Image()}))
    levels = (0.98, 0.985, 0.99, 0.995, None)
    sizes = (600, len(digits) - 600, min(args.copies, 300))
    splits, kinds, names = planted(digits, *sizes, random.Random(args.seed))
    found = {str(one): measured(splits, kinds, names, ("near",), image_correlation=one) for one in levels}
    return {
        "data": "digits of scikit-learn, enlarged to 32 x 32 pixels",
        "unplanted rows found": {level: one["found unplanted"] for level, one in found.items()},
        "unplanted rows": sizes[1],
        "recall": {level: one["recall"] for level, one in found.items()},
        "chosen": next(level for level in levels if found[str(level)]["found unplanted"] == 0),
    }


def chosen_for_texts(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The lowest of some similarities at which no unplanted row is found.

    Rows that are the same but for case and punctuation are copies, planted or not, and do not count.
    """
    splits, kinds, names = planted(read(folder, "sst2", "train"), *args.sizes, random.Random(args.seed))
    similarity = 1 - distances(splits, kinds, text_threshold=0.3)
    unplanted = similarity[(kinds == "") & (similarity < 1)]
    levels = [round(level, 2) for level in np.arange(0.4, 0.91, 0.05)]
    found = {level: int((unplanted >= level - 1e-9).sum()) for level in levels}
    recall = {
        level: {kind: float(np.mean(similarity[kinds == kind] >= level - 1e-9)) for kind in names} for level in levels
    }
    rows = int((kinds == "").sum())
    return {
        "data": "SST-2, training rows",
        "unplanted rows at least as similar": found,
        "unplanted rows": rows,
        "unplanted rows that are the same": int(((kinds == "") & (similarity == 1)).sum()),
        "recall": recall,
        "chosen": next(level for level in levels if found[level] == 0),
    }


def distances(splits: datasets.DatasetDict, kinds: np.ndarray, **loose: Any) -> np.ndarray:
    """Distance of each retain row to its nearest forget row; infinite where it lies beyond a loose threshold."""
    found = find_related(splits, methods="near", progress=False, **loose).matches("retain", "near")
    distance = np.full(len(kinds), np.inf)
    distance[found.positions] = found.distances
    return distance


def plain_hashes(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What hashes of the whole image would do: bits needed to find shifted copies, and rows found along with them."""
    hashes: dict[str, Callable[[PIL.Image.Image], Any]] = {
        "phash, 64 bits": imagehash.phash,
        "dhash, 64 bits": imagehash.dhash,
        "whash, 64 bits": imagehash.whash,
        "phash, 256 bits": partial(imagehash.phash, hash_size=16),
        "dhash, 256 bits": partial(imagehash.dhash, hash_size=16),
    }
    lines = []
    for name in ("cifar10", "fashion_mnist"):
        images = [_open(value["bytes"]) for value in _undecoded(read(folder, name, "train"), sum(args.sizes[:2]))]
        forget, others = images[: args.sizes[0]], images[args.sizes[0] :]
        rng = random.Random(args.seed)
        moved = [_open(_shifted(_encoded(image), rng)) for image in forget[: args.sizes[2]]]
        for title, function in hashes.items():
            own, copies, rest = (
                np.stack([function(image).hash.ravel() for image in part]).astype(np.float32) * 2 - 1
                for part in (forget, moved, others)
            )
            bits = own.shape[1]
            needed = float(np.quantile((bits - (own[: len(copies)] * copies).sum(axis=1)) / 2, 0.9, method="higher"))
            nearest = ((bits - rest @ own.T) / 2).min(axis=1)
            lines.append(
                {
                    "data": name,
                    "hash": title,
                    "bits for 90 % of shifted copies": needed,
                    "unplanted found": int((nearest <= needed).sum()),
                    "of": len(rest),
                }
            )
    return lines


# ---- measuring ----


def measured(
    splits: datasets.DatasetDict, kinds: np.ndarray, names: list[str], methods: tuple[str, ...], **settings: Any
) -> dict[str, Any]:
    related = find_related(splits, methods=methods, progress=False, **settings)
    positions = related.positions("retain")
    found = np.zeros(len(kinds), dtype=bool)
    found[positions] = True
    return {
        "forget rows": len(splits["forget"]),
        "retain rows": len(kinds),
        "planted": int((kinds != "").sum()),
        "recall": {kind: float(found[kinds == kind].mean()) for kind in names},
        "found": int(found.sum()),
        "found unplanted": int(found[kinds == ""].sum()),
        "precision": float((kinds[positions] != "").mean()) if len(positions) else None,
        "unplanted": int((kinds == "").sum()),
        "counts": related.counts(),
        "searched": related.searched,
    }


def speed(splits: datasets.DatasetDict, method: str, **settings: Any) -> dict[str, float]:
    """CPU seconds per 1,000 forget rows taken up, and per 1,000 rows looked up among them."""
    parts, seconds = {"forget": splits["forget"], "retain": splits["retain"]}, []
    for rows in (1, len(parts["retain"])):
        start = time.process_time()
        few = {**parts, "retain": parts["retain"].select(range(rows))}
        find_related(few, methods=method, progress=False, **settings)
        seconds.append(time.process_time() - start)
    per_row = [seconds[0] / len(parts["forget"]), (seconds[1] - seconds[0]) / len(parts["retain"])]
    return {"per 1,000 forget rows": 1000 * per_row[0], "per 1,000 rows": 1000 * per_row[1]}


def photographs(rng: random.Random, count: int) -> datasets.Dataset:
    """Parts of two photographs, 512 x 384 pixels, as JPEG, for the time it takes to read them."""
    from sklearn.datasets import load_sample_images

    wholes = [PIL.Image.fromarray(pixels) for pixels in load_sample_images().images]
    corners = [(rng.randrange(128), rng.randrange(43)) for _ in range(count)]
    parts = [wholes[x % 2].crop((x, y, x + 512, y + 384)) for x, y in corners]
    stored = [{"bytes": _encoded(part, format="JPEG", quality=90), "path": None} for part in parts]
    return datasets.Dataset.from_dict({"image": stored}, features=datasets.Features({"image": datasets.Image()}))


def natural(folder: Path, name: str) -> dict[str, Any]:
    """What is found where nothing is planted: class 0 is to be forgotten, all other rows are searched."""
    parts = split_forget_retain(read(folder, name, "train"), classes=[0])
    start = time.process_time()
    related = find_related({**parts, "test": read(folder, name, "test")}, progress=False)
    return {**related.to_dict(), "cpu_seconds": time.process_time() - start}


# ---- small models for `embedding` ----


def image_model(rows: datasets.Dataset, args: argparse.Namespace) -> tuple[PreTrainedModel, Any]:
    """A ResNet of 0.3 million parameters, three epochs on the rows, and what makes its inputs."""
    stored = rows["image"]
    colours = 1 if stored[0].mode == "L" else 3
    sizes = {"num_channels": colours, "embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1]}
    torch.manual_seed(args.seed)
    model = ResNetForImageClassification(ResNetConfig(layer_type="basic", num_labels=10, **sizes))
    inputs = {"pixel_values": _pixels(list(stored), stored[0].size)}
    return _trained(model, inputs, torch.tensor(rows["label"][:])), partial(_pixel_rows, size=stored[0].size)


def _pixels(images: list[PIL.Image.Image], size: tuple[int, int]) -> torch.Tensor:
    resized = [image if image.size == size else image.resize(size, PIL.Image.Resampling.BICUBIC) for image in images]
    pixels = torch.from_numpy(np.stack([np.asarray(image, dtype=np.float32) for image in resized])) / 127.5 - 1
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()


def _pixel_rows(splits: datasets.DatasetDict, size: tuple[int, int]) -> datasets.DatasetDict:
    def encode(batch: dict[str, list]) -> dict[str, list]:
        return {"pixel_values": list(_pixels(batch["image"], size))}

    return datasets.DatasetDict({name: part.with_transform(encode) for name, part in splits.items()})


def text_model(rows: datasets.Dataset, splits: datasets.DatasetDict, args: argparse.Namespace) -> PreTrainedModel:
    """A BERT of 1 million parameters, three epochs on the forget rows, from scratch."""
    longest = max(len(ids) for part in splits.values() for ids in part["input_ids"])
    words = 1 + max(max(ids) for part in splits.values() for ids in part["input_ids"])
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 128}
    torch.manual_seed(args.seed)
    config = BertConfig(vocab_size=words, max_position_embeddings=longest, num_labels=4, **sizes)
    rows = rows.select(range(len(splits["forget"])))
    ids = [torch.tensor(ids) for ids in splits["forget"]["input_ids"]]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    inputs = {"input_ids": padded, "attention_mask": (padded > 0).long()}
    return _trained(BertForSequenceClassification(config), inputs, torch.tensor(rows["label"][:]))


def _trained(model: PreTrainedModel, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> PreTrainedModel:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()
    for _ in range(3):
        for rows in torch.randperm(len(labels)).split(64):
            loss = model(**{name: value[rows] for name, value in inputs.items()}, labels=labels[rows]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


# ---- files and tables ----


def read(folder: Path, name: str, split: str) -> datasets.Dataset:
    file = str(folder / name / f"{split}.parquet")
    return datasets.load_dataset("parquet", data_files={"rows": file}, split="rows")


def _undecoded(rows: datasets.Dataset, count: int) -> list[Row]:
    return rows.select(range(count)).cast_column("image", datasets.Image(decode=False))["image"][:]


def tables(results: dict[str, Any]) -> str:
    near, embedding = results["exact and near"], results["embedding"]
    lines = ["Recall of planted copies, in %, `exact` and `near` with the default thresholds:", ""]
    for is_text in (False, True):
        lines += [*_recalls({name: value for name, value in near.items() if ("News" in name) == is_text}), ""]
    lines += ["`embedding` alone, threshold from the data, small models trained from scratch:", ""]
    for is_text in (False, True):
        lines += [*_recalls({name: value for name, value in embedding.items() if ("News" in name) == is_text}), ""]
    lines += ["Hashes of the whole image, for comparison; bits that find 90 % of the copies shifted by a pixel:", ""]
    lines += ["| Data | Hash | Bits | Unplanted rows found | of |", "|---|---|---:|---:|---:|"]
    for line in results["plain hashes"]:
        lines.append("| " + " | ".join(str(value) for value in line.values()) + " |")
    lines += ["", f"CPU seconds on one thread, {results['forget rows']} forget rows (100 photographs):", ""]
    lines += ["| Method | 1,000 forget rows | 1,000 rows looked up |"]
    lines.append("|---|---:|---:|")
    for name, seconds in results["speed"].items():
        lines.append(f"| {name} | {seconds['per 1,000 forget rows']:.2f} | {seconds['per 1,000 rows']:.2f} |")
    lines += ["", "Nothing planted, class 0 is to be forgotten, whole data sets:", ""]
    lines += [
        "| Data | Split | Exact | Near | of | Forget rows concerned | of | CPU seconds |",
        "|---|---|" + "---:|" * 6,
    ]
    for name, one in results["nothing planted"].items():
        for split, found in one["found"].items():
            concerned = sum(methods["forget_rows"] for methods in found.values())
            numbers = [found["exact"]["rows"], found["near"]["rows"], one["rows"][split], concerned]
            entries = [name, split, *numbers, one["rows"]["forget"], f"{one['cpu_seconds']:.0f} in all"]
            lines.append("| " + " | ".join(map(str, entries)) + " |")
    images, pixels, texts = (results["thresholds"][name] for name in ("images", "correlation", "texts"))
    needed = images["bits needed for 99 % of the copies"]
    lines += [
        "",
        f"Images: {images['chosen']:.0f} bits, chosen on {images['data']}: the fewest within which 99 % of the copies "
        f"of every kind lie ({', '.join(f'{kind} {bits:.0f}' for kind, bits in needed.items())}; copies shifted by 2 "
        f"pixels, cropped or mirrored were not asked for). Of {images['unplanted rows']} unplanted rows there, "
        + ", ".join(f"{rows} lie within {bits}" for bits, rows in images["unplanted rows within bits"].items())
        + " bits.",
        "",
        f"Correlation of pixels: {pixels['chosen']}, chosen on {pixels['data']}: the lowest at which none of "
        f"{pixels['unplanted rows']} unplanted rows is found ("
        + ", ".join(f"{level}: {rows}" for level, rows in pixels["unplanted rows found"].items() if level != "None")
        + "). There it raises the recall of copies as JPEG of quality 75 from "
        f"{100 * pixels['recall']['None']['JPEG, quality 75']:.0f} % by hashes alone to "
        f"{100 * pixels['recall'][str(pixels['chosen'])]['JPEG, quality 75']:.0f} %.",
        "",
        f"Texts: Jaccard similarity {texts['chosen']}, chosen on {texts['data']}: the lowest at which none of "
        f"{texts['unplanted rows']} unplanted rows is found ("
        + ", ".join(f"{level}: {rows}" for level, rows in texts["unplanted rows at least as similar"].items())
        + f"), not counting {texts['unplanted rows that are the same']} that differ from a forget row in nothing but "
        "case and punctuation.",
    ]
    return "\n".join(lines)


def _recalls(results: dict[str, Any]) -> list[str]:
    """A column for each data set, a line for each kind of copy, then what else was found."""
    if not results:
        return []
    columns = list(results.values())
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---:|" * len(columns)]
    for kind in columns[0]["recall"]:
        lines.append(f"| {kind} | " + " | ".join(f"{100 * one['recall'][kind]:.1f}" for one in columns) + " |")
    precision = [f"{100 * one['precision']:.1f}" if one["found"] else "-" for one in columns]
    lines.append("| **precision**, unplanted rows being false | " + " | ".join(precision) + " |")
    unplanted = [f"{one['found unplanted']} of {one['unplanted']}" for one in columns]
    lines.append("| unplanted rows found | " + " | ".join(unplanted) + " |")
    sizes = [f"{one['forget rows']} / {one['planted']}" for one in columns]
    lines.append("| forget rows / planted copies | " + " | ".join(sizes) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with a folder a data set")
    parser.add_argument("--forget", type=int, default=1000, help="forget rows")
    parser.add_argument("--others", type=int, default=4500, help="unplanted rows of the retain set")
    parser.add_argument("--copies", type=int, default=300, help="planted rows of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="where the tables go")
    args = parser.parse_args()
    args.sizes = (args.forget, args.others, args.copies)
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()

    thresholds = {
        "images": chosen_for_images(args.data, args),
        "correlation": chosen_correlation(args),
        "texts": chosen_for_texts(args.data, args),
    }
    print(json.dumps(thresholds, indent=1), flush=True)
    near, embedding, times = {}, {}, {}
    for title, name, split in (
        ("Fashion-MNIST train", "fashion_mnist", "train"),
        ("Fashion-MNIST test", "fashion_mnist", "test"),
        ("CIFAR-10 test", "cifar10", "test"),
        ("AG News", "ag_news", "train"),
    ):
        rows = read(args.data, name, split)
        splits, kinds, names = planted(rows, *args.sizes, random.Random(args.seed))
        near[title] = measured(splits, kinds, names, ("exact", "near"))
        print(title, near[title], flush=True)
        if title == "Fashion-MNIST test":
            continue
        few = (
            args.forget,
            args.others,
            max(args.copies // 10, 1),
        )  # the threshold comes from a retain set with copies
        if name == "ag_news":
            tokens = as_tokens(splits)
            near["AG News, token ids"] = measured(tokens, kinds, names, ("exact", "near"))
            splits, kinds, names = planted(rows, *few, random.Random(args.seed))
            inputs = as_tokens(splits)
            model = text_model(rows, inputs, args)
        else:
            splits, kinds, names = planted(rows, *few, random.Random(args.seed))
            model, prepare = image_model(rows.select(range(args.forget + args.others)), args)
            inputs = prepare(splits)
        embedding[title] = measured(inputs, kinds, names, ("embedding",), model=model)
        print(title, embedding[title], flush=True)
        if name != "cifar10":
            for method in ("exact", "near"):
                times[f"{method}, {title}"] = speed(splits, method)
            settings = {"model": model, "embedding_threshold": 0.999}
            times[f"embedding, {title}"] = speed(inputs, "embedding", **settings)
    large = photographs(random.Random(args.seed), 500)
    splits = datasets.DatasetDict(forget=large.select(range(100)), retain=large.select(range(100, 500)))
    times["near, photographs of 512 x 384 pixels"] = speed(splits, "near")
    results = {
        "thresholds": thresholds,
        "exact and near": near,
        "embedding": embedding,
        "plain hashes": plain_hashes(args.data, args),
        "speed": times,
        "nothing planted": {name: natural(args.data, name) for name in ("fashion_mnist", "ag_news")},
        "forget rows": args.forget,
    }
    made = tables(results)
    print("\n" + made)
    command = (
        f"python benchmarks/related_rows.py --forget {args.forget} --others {args.others} --copies {args.copies} "
        f"--seed {args.seed}"
    )
    environment = describe_environment(1)
    environment["packages"] |= {name: version(name) for name in PACKAGES}
    write(
        args.output / "related_rows.json",
        json.dumps({"command": command, "environment": environment, **results}, indent=2),
    )
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
    note = f"`{command}`; {packages}, Python {environment['python']}; one thread of {environment['cpu']}."
    write(args.output / "related_rows.md", f"{made}\n\n{note}")


if __name__ == "__main__":
    main()

"""How long `split_forget_retain` takes on a million rows, and how much memory, for small and for large images.

    python benchmarks/million_rows.py

The rows are made up: an image of so many bytes, a text, a user, a number, a mark and a label. They lie in a file that
is mapped into memory, as `load_dataset` leaves them. `benchmarks/README.md` says more.
"""

import argparse
import functools
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import psutil
import pyarrow as pa
from class_level import describe_environment, write
from datasets.arrow_writer import ArrowWriter

from mixunlearn_hf import split_forget_retain, write_digests

KEY = b"a key for the benchmark, not secret"
FEATURES = datasets.Features(
    image=datasets.Image(),
    text=datasets.Value("string"),
    user=datasets.Value("string"),
    number=datasets.Value("int64"),
    gone=datasets.Value("bool"),
    label=datasets.ClassLabel(num_classes=10),
)


def made_up(count: int, image_bytes: int, path: Path) -> datasets.Dataset:
    """A data set in a file; `image_bytes` random bytes stand for an encoded image, and no two are the same."""
    rng, writer = np.random.default_rng(0), ArrowWriter(features=FEATURES, path=str(path))
    for start in range(0, count, 10_000):
        ids = np.arange(start, min(start + 10_000, count))
        block = rng.bytes(image_bytes - 8)
        images = [{"bytes": block + int(i).to_bytes(8, "little"), "path": None} for i in ids]
        table = {
            "image": pa.array(images, FEATURES.arrow_schema.field("image").type),
            "text": [f"Row {i} names company {i % 997} and nobody else." for i in ids],
            "user": [f"user-{i // 10}" for i in ids],
            "number": ids,
            "gone": ids % 100 == 0,
            "label": ids % 10,
        }
        writer.write_table(pa.table(table))
    writer.finalize()
    return datasets.Dataset.from_file(str(path))


def requests(rows: datasets.Dataset, folder: Path) -> dict[str, dict[str, Any]]:
    """Ten selectors."""
    every = range(0, len(rows), 1000)
    write_digests(rows.select(every), folder / "digests", KEY, columns=["text", "user"])
    text = {"text_column": "text"}
    return {
        "classes=[3]": {"classes": [3]},
        "indices=, every 7th": {"indices": range(0, len(rows), 7)},
        "column=, 1,000 users": {"column": "user", "values": [f"user-{i}" for i in range(1000)]},
        "contains=, a phrase": {"contains": "company 13 ", **text},
        "contains=, a pattern": {"contains": re.compile(r"COMPANY 1\d\b", re.IGNORECASE), **text},
        "where=, of a number": {"where": lambda row: row["number"] % 17 == 0},
        "mask_column=": {"mask_column": "gone"},
        "fraction=, per class": {"fraction": 0.1},
        "digests=, of text and user": {"digests": folder / "digests", "digest_key": KEY},
        "classes=, holdout=": {"classes": [3], "holdout": 0.1},
    }


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, its seconds, and by how many MB the memory of this process, mapped files aside, rose."""
    process, done, most = psutil.Process(), threading.Event(), [0]

    def own() -> int:
        memory = process.memory_info()
        return memory.rss - memory.shared

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], own())

    before, watcher = own(), threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return result, seconds, max(most[0] - before, 0) / 1e6


def rows_of_table(count: int, sizes: list[int]) -> Iterator[dict[str, Any]]:
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows = made_up(count, size, Path(folder, "rows.arrow"))
            for name, request in requests(rows, Path(folder)).items():
                splits, seconds, megabytes = measured(functools.partial(split_forget_retain, rows, **request))
                forget = len(splits["forget"])
                yield {"request": name, "image_bytes": size, "forget": forget, "seconds": seconds, "mb": megabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--image_bytes", type=int, nargs="+", default=[100, 3000])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    datasets.disable_progress_bars()
    cells = []
    for cell in rows_of_table(args.rows, args.image_bytes):
        cells.append(cell)
        print(cell, flush=True)
    columns = "".join(f" {size:,} bytes: s | MB |" for size in args.image_bytes)
    lines = [f"| Selector | Rows found |{columns}", "|---|---:|" + "---:|---:|" * len(args.image_bytes)]
    for name in dict.fromkeys(cell["request"] for cell in cells):
        same = [cell for cell in cells if cell["request"] == name]
        numbers = "".join(f" {cell['seconds']:.2f} | {cell['mb']:.0f} |" for cell in same)
        lines.append(f"| `{name}` | {same[0]['forget']:,} |{numbers}")
    environment = describe_environment(1)
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
    command = f"python benchmarks/million_rows.py --rows {args.rows}"
    note = [
        f"{args.rows:,} rows with images of so many bytes each; memory is what the process took on top, at its peak,",
        f"the mapped file aside.\n\n`{command}`; {packages}, Python {environment['python']}; {environment['cpu']}.",
    ]
    write(args.output / "million_rows.json", json.dumps({"command": command, "cells": cells}, indent=2))
    write(args.output / "million_rows.md", "\n".join([*lines, "", *note]))


if __name__ == "__main__":
    main()

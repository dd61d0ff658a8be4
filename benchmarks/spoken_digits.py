"""Make `spoken_digits/` of the data folder from the recordings of the Free Spoken Digit Dataset.

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset
    git -C free-spoken-digit-dataset checkout 26eb9aaf76e81b692f806f9140c2d2777410d7a1
    python benchmarks/spoken_digits.py free-spoken-digit-dataset/recordings --data data

3,000 recordings, `{digit}_{speaker}_{index}.wav`, of six speakers at 8 kHz; Zohar Jackson and others, CC BY-SA 4.0.
Those with index 0 to 4 are the test rows, as the authors have it. Rows are in the order of index, speaker and digit:
each 60 are one recording of every digit by every speaker.
"""

import argparse
import os
from pathlib import Path

import datasets
import numpy as np
from scipy.io import wavfile

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLING_RATE = 8_000
TEST = range(5)  # the indices of the test rows


def read(path: Path) -> np.ndarray:
    """A recording as float32 in [-1, 1]."""
    rate, samples = wavfile.read(path)
    if rate != SAMPLING_RATE or samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"{path.name} is not a mono recording of 16 bits at {SAMPLING_RATE} Hz")
    return samples.astype(np.float32) / 32768


def parquet(recordings: list[tuple[int, str, int, Path]], path: Path) -> None:
    columns = {"audio": [read(one[3]) for one in recordings], "label": [one[2] for one in recordings]}
    features = datasets.Features(
        {"audio": datasets.List(datasets.Value("float32")), "label": datasets.ClassLabel(names=list(DIGITS))}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    datasets.Dataset.from_dict(columns, features=features).to_parquet(unfinished)
    os.replace(unfinished, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="folder of the wav files")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with a folder a data set")
    args = parser.parse_args()
    datasets.disable_progress_bars()
    recordings = []
    for path in args.recordings.glob("*.wav"):
        digit, speaker, index = path.stem.split("_")
        recordings.append((int(index), speaker, int(digit), path))
    if not recordings:
        parser.error(f"no wav files in {args.recordings}")
    recordings.sort()
    for split in ("train", "test"):
        rows = [one for one in recordings if (one[0] in TEST) == (split == "test")]
        parquet(rows, args.data / "spoken_digits" / f"{split}.parquet")
        print(f"{split}: {len(rows)} rows")


if __name__ == "__main__":
    main()

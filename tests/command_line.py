"""What the tests of the command line share."""

import os
import subprocess
import sys
from pathlib import Path

CANARY = "qzxv81"  # stands in every user id and every text
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def in_a_process(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m ...` as a user does, with a home and a cache of its own."""
    environment = {**os.environ, "HF_HOME": str(cwd / "home"), "CUDA_VISIBLE_DEVICES": "", **environment}
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=250, check=False)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

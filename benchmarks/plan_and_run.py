"""What `mixunlearn plan` foretells beside what `mixunlearn run` takes.

    python benchmarks/plan_and_run.py --data data

Two requests, of Fashion-MNIST all rows of class 0, of AG News every row that names one company. Each is planned and
carried out by the command line, in processes of their own, several times; the classifiers are trained once and kept.
`benchmarks/README.md` says more.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
import yaml
from class_level import AGNews, FashionMNIST, describe_environment, learn, write
from transformers import ViTImageProcessorPil

REQUESTS: dict[str, dict[str, Any]] = {
    "fashion_mnist": {"classes": [0]},
    "ag_news": {"contains": ["Microsoft"], "max_length": AGNews.max_length},
}
EPOCHS = {"fashion_mnist": 4, "ag_news": 2}


def classifier(name: str, data: Path, folder: Path) -> None:
    """A classifier of all training rows, with what turns rows into its inputs."""
    if (folder / "config.json").exists():
        return
    task: Any = {"fashion_mnist": FashionMNIST, "ag_news": AGNews}[name]()
    task.recipe = {**task.recipe, "num_train_epochs": EPOCHS[name]}
    rows = datasets.load_dataset("parquet", data_files=str(data / name / "train.parquet"), split="train")
    model, _ = learn(task, task.encode(rows), seed=0)
    if name == "fashion_mnist":
        processor: Any = ViTImageProcessorPil(do_resize=False, image_mean=[0.5], image_std=[0.5])
    else:
        processor = task.processing_class
    unfinished = folder.with_name(folder.name + ".unfinished")
    model.save_pretrained(unfinished)
    processor.save_pretrained(unfinished)
    os.replace(unfinished, folder)


def request(name: str, data: Path, cache: Path) -> Path:
    """The YAML file of a request."""
    settings = {
        "model": str(cache / name),
        "train_file": str(data / name / "train.parquet"),
        "test_file": str(data / name / "test.parquet"),
        **REQUESTS[name],
        "output_dir": str(cache / f"{name}-unlearned"),
        "use_cpu": True,
        "disable_tqdm": True,
    }
    path = cache / f"{name}.yaml"
    write(path, yaml.safe_dump(settings, sort_keys=False))
    return path


def mixunlearn(command: str, config: Path, threads: int) -> dict[str, Any]:
    """The answer of a command, run in a process of its own."""
    words = [sys.executable, "-m", "mixunlearn_hf", command, "--config", str(config), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    answer = json.loads(done.stdout)
    if done.returncode:
        raise SystemExit(f"{command} of {config.name} failed: {answer['error']}")
    return answer


def table(cells: list[dict[str, Any]]) -> str:
    lines = [
        "| Request | Rows to forget | Steps | | Planned, s | Took, s | Planned / took |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for cell in cells:
        planned, took = cell["plan"]["cost"]["seconds"], cell["run"]["seconds"]
        for part in ("total", *(name for name in took if name != "total")):
            first = [
                cell["name"],
                str(cell["run"]["request"]["rows"]["forget"]),
                str(cell["run"]["training"]["steps"]),
            ]
            shown = first if part == "total" else ["", "", ""]
            numbers = f"{planned[part]:.1f} | {took[part]:.1f} | {planned[part] / max(took[part], 0.01):.2f}"
            lines.append(f"| {' | '.join(shown)} | {part} | {numbers} |")
        gigabytes = [cell["plan"]["cost"]["peak_memory_bytes"] / 1e9, cell["run"]["peak_memory_bytes"] / 1e9]
        ratio = gigabytes[0] / gigabytes[1]
        lines.append(f"| | | | peak memory, GB | {gigabytes[0]:.2f} | {gigabytes[1]:.2f} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with a folder a data set")
    parser.add_argument("--requests", nargs="+", choices=REQUESTS, default=list(REQUESTS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/plan_and_run"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train_only", action="store_true", help="train the classifiers and stop")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    datasets.disable_progress_bars()
    cells = []
    for name in args.requests:
        classifier(name, args.data, args.cache / name)
        if args.train_only:
            continue
        config = request(name, args.data, args.cache)
        for repeat in range(args.repeats):
            plan = mixunlearn("plan", config, args.threads)
            shutil.rmtree(args.cache / f"{name}-unlearned", ignore_errors=True)
            cells.append(
                {"name": name, "repeat": repeat, "plan": plan, "run": mixunlearn("run", config, args.threads)}
            )
            print(table(cells[-1:]), flush=True)
    if cells:
        made = table(cells)
        environment = describe_environment(args.threads)
        command = f"python benchmarks/plan_and_run.py --threads {args.threads} --repeats {args.repeats}"
        packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
        write(args.output / "plan_and_run.json", json.dumps({"command": command, "cells": cells}, indent=2))
        machine = f"{args.threads} thread(s) of {environment['cpu']}"
        note = f"`{command}`; {packages}, Python {environment['python']}; {machine}."
        write(args.output / "plan_and_run.md", f"{made}\n\n{note}")


if __name__ == "__main__":
    main()

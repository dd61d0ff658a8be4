"""The parts of `docs/models.md` that are made: the table, from the registry and the test results, and an error."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import zoo

from mixunlearn_hf.errors import UnsupportedModelError
from mixunlearn_hf.families import family_of, registered_families

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
COLUMNS = {  # of the table, and the tests they stand for
    "identity": ("test_identity", "test_exchange", "test_features"),
    "generator": ("test_generator_gradient",),
    "trains": ("test_ten_steps",),
    "checkpointing": ("test_gradient_checkpointing",),
    "PEFT": ("test_peft",),
    "compile": ("test_compile",),
}
_LIMITS = {"checkpointing": "gradient checkpointing", "compile": "torch.compile"}

Outcomes = Mapping[tuple[str, str], set[str]]
"""Outcomes (`passed`, `failed`, `skipped`) of the tests of a test function and a model."""


def outcome_of(nodeid: str) -> tuple[str, str] | None:
    """Test function and model of a test of `test_families.py`."""
    found = re.search(r"test_families\.py::(\w+)\[(?:[\d.]+-\w+-)?(.+)\]$", nodeid)
    return (found[1], found[2]) if found and found[2] in zoo.ZOO else None


def is_complete(outcomes: Outcomes) -> bool:
    """Whether every test of the table was run for every model."""
    return all((test, name) in outcomes for name in zoo.ZOO for tests in COLUMNS.values() for test in tests)


def table(outcomes: Outcomes) -> str:
    """A row for every model of the zoo: where it is mixed, where its features come from, and what holds."""
    assert {entry.model_type for entry in zoo.ZOO.values()} == set(registered_families())
    reasons: list[str] = []
    lines = [f"| model | mixed | layers | {' | '.join(COLUMNS)} |", "|---|---|---|" + ":---:|" * len(COLUMNS)]
    for name, entry in zoo.ZOO.items():
        cells = []
        for column, tests in COLUMNS.items():
            seen = set().union(*(outcomes[test, name] for test in tests))
            reason = entry.limit(_LIMITS.get(column, column))
            if reason is not None and seen == {"skipped"}:
                reasons += [] if reason in reasons else [reason]
                cells.append(str(reasons.index(reason) + 1))
            else:
                cells.append("yes" if "passed" in seen and "failed" not in seen else "**no**")
        model = zoo.build(name)
        family, paths = family_of(model), {module: path for path, module in model.named_modules()}
        layers = paths[family.layers(model)[-1]].rpartition(".")[0]
        cells = [name, f"`{paths[family.embedding_module(model)]}`", f"`{layers}`", *cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))])


def error() -> str:
    """What the trainer says of a model without a family."""

    class Perceptron(torch.nn.Module):
        pass

    try:
        family_of(Perceptron())
    except UnsupportedModelError as caught:
        return f"> `UnsupportedModelError`: {caught}"
    raise AssertionError


def page(outcomes: Outcomes) -> str:
    """The page with its made parts as they are today."""
    text = PAGE.read_text()
    for name, made in (("table", table(outcomes)), ("error", error())):
        text = re.sub(
            rf"<!-- {name} -->.*<!-- /{name} -->",
            lambda _, name=name, made=made: f"<!-- {name} -->\n{made}\n<!-- /{name} -->",
            text,
            flags=re.S,
        )
    return text

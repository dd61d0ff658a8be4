"""Who may import whom."""

import ast
import re
from pathlib import Path

import pytest

import mixunlearn_hf
from mixunlearn_hf.families import registered_families

PACKAGE = Path(mixunlearn_hf.__file__).parent
ALLOWED = {  # first match wins
    "errors": set(),
    "objectives": set(),
    "mixblock": set(),
    "classifier": set(),
    "files": {"errors"},
    "data": {"data", "files", "errors"},
    "families": {"families", "classifier", "errors"},
    "trainer.mixunlearn": {"trainer", "families", "objectives", "mixblock", "classifier", "errors"},
    "trainer.generator": {"mixblock", "errors"},
    "trainer": {"trainer", "data", "objectives", "classifier", "errors"},
    "related": {"related", "data", "classifier", "errors"},
    "evaluation": {"evaluation", "data", "errors"},
    "planning": {"planning", "trainer", "data", "classifier", "errors"},
    "cli": {"cli", "related", "evaluation", "planning", "trainer", "data", "files", "errors"},
    "__main__": {"cli"},
    "": {"data", "families", "objectives", "mixblock", "related", "trainer", "errors"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported_rooms(path: Path) -> set[str]:
    """The rooms of this package that a file imports from, by the syntax tree."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.relative_to(PACKAGE).parts[: -node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            rooms |= {".".join([*base, name]).split(".")[0] for name in names}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not any(module.split(".")[0] == "mixunlearn_hf" for module in modules), (
                f"{path.name}: import relatively"
            )
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_in_their_rooms(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
    room = next(room for room in ALLOWED if module == room or module.startswith(f"{room}.") or room == "")
    assert imported_rooms(path) <= ALLOWED[room]


def test_trainer_names_no_family() -> None:
    """Neither in code nor in text."""
    families = {model_type.split("-")[0].split("_")[0] for model_type in registered_families()}
    for path in (PACKAGE / "trainer").glob("*.py"):
        words = re.findall(r"[a-z0-9]+", path.read_text().lower())
        assert not families & set(words), path.name


def test_every_public_name_resolves_and_is_documented() -> None:
    assert mixunlearn_hf.__all__ == sorted(mixunlearn_hf.__all__)
    for name in mixunlearn_hf.__all__:
        assert getattr(mixunlearn_hf, name).__doc__, name

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.build import build_wheel
from huggingface_hub import ModelCard, ModelCardData

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "model_card_template.md"
ROWS = [
    {"metric": "forget_accuracy", "original": 1.0, "unlearned": 0.0625, "better": "match the reference"},
    {"metric": "retain_accuracy", "original": 0.987654, "unlearned": 0.95, "better": "higher"},
]


def render(card_data: ModelCardData | None = None, **variables: Any) -> str:
    return ModelCard.from_template(card_data or ModelCardData(), template_path=str(TEMPLATE), **variables).content


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str) -> list[list[str]]:
    """The cells of a Markdown table's rows; a `|` after a backslash is part of its cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def variables_of_the_template() -> set[str]:
    from jinja2 import Environment, meta

    return meta.find_undeclared_variables(Environment().parse(TEMPLATE.read_text(encoding="utf-8"))) - {"card_data"}


def test_renders_with_nothing_given() -> None:
    card = render()
    assert yaml.safe_load(card.split("---")[1]) == {}
    assert "# Unlearned model" in card
    assert "No evaluation was recorded." in card
    assert not re.search(r"None|Undefined|\{[{%#]|\n\n\n", card)


def test_none_and_empty_read_as_absent() -> None:
    names = variables_of_the_template()
    assert {"evaluation", "forget_size", "hyperparameters", "is_adapter", "model_id"} <= names
    assert render(**dict.fromkeys(names)) == render()
    assert render(evaluation=[], hyperparameters={}, cost={}, versions={}, evaluation_notes=[]) == render()


def test_front_matter_survives_the_round_trip() -> None:
    data = ModelCardData(
        license="mit", base_model="org/original", base_model_relation="finetune", library_name="transformers"
    )
    card = ModelCard(render(data, model_id="me/unlearned"))
    assert card.data.to_dict() == data.to_dict()
    assert "# me/unlearned" in card.text
    assert "**Original model:** org/original" in card.text
    assert "**License:** mit" in card.text


def test_evaluation_table_without_a_retrained_reference_says_so() -> None:
    text = section(render(evaluation=ROWS), "Evaluation")
    assert table(text) == [
        ["Metric", "Original", "Unlearned", "Better"],
        ["---"] * 4,
        ["forget_accuracy", "1", "0.0625", "match the reference"],
        ["retain_accuracy", "0.9877", "0.95", "higher"],
    ]
    assert "No retrained reference was trained." in text


def test_evaluation_table_shows_the_columns_that_any_row_has() -> None:
    rows = [ROWS[0] | {"retrained": 0.0, "null": 0.01, "ci": (0.05, 0.075)}, ROWS[1] | {"retrained": None}]
    text = section(render(evaluation=rows), "Evaluation")
    assert table(text) == [
        ["Metric", "Original", "Unlearned", "Retrained", "Null", "95% interval", "Better"],
        ["---"] * 7,
        ["forget_accuracy", "1", "0.0625", "0", "0.01", "0.05 to 0.075", "match the reference"],
        ["retain_accuracy", "0.9877", "0.95", "–", "–", "–", "higher"],
    ]
    assert "No retrained reference" not in text
    assert "*Null* is" in text


def test_a_value_cannot_break_its_table() -> None:
    settings = {
        "a|b": "x|y\nz",
        "learning_rate": 1e-5,
        "seconds": 12345.67,
        "steps": 12345,
        "fused": True,
        "none": None,
    }
    assert table(section(render(hyperparameters=settings), "Method"))[2:] == [
        ["a\\|b", "x\\|y z"],
        ["learning_rate", "1e-05"],
        ["seconds", "12345.7"],
        ["steps", "12345"],
        ["fused", "yes"],
        ["none", "–"],
    ]


def test_request_gives_kind_and_counts() -> None:
    card = render(request_kind="class", goal="unlearning", forget_size=5000, retain_size=45_000)
    assert table(section(card, "What was requested"))[2:] == [
        ["Kind of request", "class"],
        ["Goal", "unlearning"],
        ["Forget set", "5,000 examples"],
        ["Retain set", "45,000 examples"],
    ]


def test_a_baseline_is_not_presented_as_mixunlearn() -> None:
    assert "trains a generator" in section(render(), "Method")
    text = section(render(method="Gradient ascent"), "Method")
    assert "Gradient ascent, one of the baselines" in text
    assert "trains a generator" not in text


@pytest.mark.parametrize("is_adapter", [True, False])
def test_only_an_adapter_warns_that_removing_it_undoes_the_unlearning(is_adapter: bool) -> None:
    limits = section(render(is_adapter=is_adapter), "What is not guaranteed")
    assert ("removing the adapter undoes" in limits) is is_adapter


def test_every_card_states_the_limits_and_the_paper() -> None:
    card = render(limitations=["Tested on one seed."], reproduce="python unlearn.py", versions={"torch": "2.13.0"})
    limits = section(card, "What is not guaranteed")
    for words in ("no certificate", "Older revisions", "caches", "adapters", "quantised", "- Tested on one seed."):
        assert words in " ".join(limits.split())
    assert "```bash\npython unlearn.py\n```" in section(card, "How to reproduce")
    assert table(section(card, "How to reproduce"))[2:] == [["torch", "2.13.0"]]
    assert "https://arxiv.org/abs/2502.10288" in section(card, "Citation")


def test_the_wheel_carries_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        assert wheel.read("mixunlearn_hf/model_card_template.md") == TEMPLATE.read_bytes()
        assert "mixunlearn_hf/py.typed" in wheel.namelist()
        folders = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"mixunlearn_hf"}

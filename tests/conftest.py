"""One environment for every test: no network, one thread a process, fixed seeds."""

import os

# Set before any Hugging Face library is imported: they read these once. Assigned, not defaulted, so that a developer's
# own shell cannot put a test online.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import huggingface_hub
import models_page
import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of digests is made in `HF_HOME`: not in that of whoever runs the tests."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "hf_home"))


# ---- docs/models.md says what the tests of families found ----


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-models-page", action="store_true", help="write docs/models.md from the results")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where all tests of families ran, the page must say what they found."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(session.config, "workerinput") or reporter is None:
        return
    outcomes = defaultdict(set)
    for outcome in ("passed", "failed", "skipped"):
        for report in reporter.stats.get(outcome, []):
            found = models_page.outcome_of(getattr(report, "nodeid", ""))
            if found is not None:
                outcomes[found].add(outcome)
    if not models_page.is_complete(outcomes):
        return
    page = models_page.page(outcomes)
    if session.config.getoption("--write-models-page"):
        models_page.PAGE.write_text(page)
    elif page != models_page.PAGE.read_text():
        reporter.write_line("docs/models.md is not what the tests found: run `make models-page`.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""What the command line refuses: exit code 2, what came and what to do, nothing left behind."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import yaml
from command_line import CANARY, NAMES, snapshot
from filelock import FileLock

from mixunlearn_hf.cli.options import SECTIONS, known_names, parse
from mixunlearn_hf.errors import ConfigError

MixUnlearn = Callable[..., tuple[int, str, str]]

REFUSED = {
    "a setting nobody knows": (["--clases", "zero"], r"'clases'. Did you mean 'classes'\?"),
    "one of a section": (["--training.learning_rte", "1"], r"'training.learning_rte'. Did you mean 'learning_rate'\?"),
    "one of another section": (["--data.learning_rate", "1"], "'data.learning_rate'"),
    "a section nobody knows": (["--trainer.learning_rate", "1"], "'trainer.learning_rate'"),
    "an abbreviation": (["--learning", "1"], "no setting 'learning'"),
    "a word without a name": (["zero"], "no setting 'zero'"),
    "a wrong value": (["--learning_rate", "much"], "learning_rate.*invalid float value: 'much'"),
    "a value out of range": (["--alpha", "-1"], "`alpha` must be a finite number above 0"),
    "no value": (["--alpha"], "alpha.*expected one argument"),
    "an unknown class": (["--classes", "zerro"], r"No row has the class 'zerro'.*Did you mean 'zero'\?"),
    "an unknown class number": (["--classes", "17"], "No row has the class '17'"),
    "an unknown user": (["--column", "user", "--values", "qzxv-3"], "1 of 1 `values` match no row in 'user'.*rows? 3"),
    "an unknown column": (["--column", "usr", "--values", "1"], r"no column 'usr'; its columns are \['image', 'user'"),
    "values without a column": (["--values", "1"], "`column` and `values` go together"),
    "values twice": (["--column=user", "--values=1", "--values_file=x"], "contradict each other"),
    "a file of values that is missing": (["--column=user", "--values_file=nowhere"], "'nowhere' cannot be read"),
    "positions that are none": (["--indices_file", "words.txt"], "one row number a line, and line 1 does not"),
    "a broken pattern": (["--contains_pattern", "(", "--input_column", "user"], "no regular expression"),
    "digests that are missing": (["--digests", "nowhere"], "'nowhere' cannot be read as a file of row digests"),
    "a column the model should read": (["--input_column", "picture"], "no column 'picture'"),
    "no such file": (["--train_file", "nowhere.parquet"], "There is no file 'nowhere.parquet'"),
    "an unknown kind of file": (["--train_file", "words.txt"], "must be one of the files .parquet"),
    "a corrupt file": (["--train_file", "corrupt.parquet"], "'corrupt.parquet' cannot be read as a data set"),
    "a corrupt table": (["--train_file", "corrupt.json"], "'corrupt.json' cannot be read as a data set"),
    "no such model": (["--model", "nowhere"], "'nowhere' is no model"),
    "two places of data": (["--dataset", "nowhere"], "either `dataset` or `train_file`"),
    "an unknown way with related rows": (["--related", "drop"], "'keep' or 'move'"),
    "a folder that cannot be": (["--output_dir", "words.txt/out"], "cannot be written to"),
    "a length of images": (["--max_length", "5"], "about texts"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some broken files, to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "words.txt").write_text(f"{CANARY}\n")
    (folder / "corrupt.parquet").write_bytes(b"PAR1" + CANARY.encode() * 9)
    (folder / "corrupt.json").write_text('{"text": "' + CANARY + '"}\n{"text": ' + CANARY)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name: str, digits: Path, here: Path, mixunlearn: MixUnlearn) -> None:
    words, message = REFUSED[name]
    before = snapshot(here)
    code, out, err = mixunlearn("run", "--config", digits / "request.yaml", "--output_dir", "out", *words, "--json")
    assert code == 2, err
    error = json.loads(out)["error"]
    assert re.search(message, error["message"], re.S), error["message"]
    assert CANARY not in (out + err).replace(str(digits), "")
    assert snapshot(here) == before and not (here / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("learning_rte: 0.1\n", "no setting 'learning_rte'. Did you mean 'learning_rate'?"),
        ("training:\n  learning_rte: 0.1\n", "no setting 'training.learning_rte'"),
        ("data:\n  classes: [1]\n", "no setting 'data.classes'"),
        ("classes: [1\nmodel: x\n", "is not YAML"),
        ("- classes\n", "must hold settings"),
        ("classes: [zero]\n", "Say which model shall forget"),
        ("model: x\n", "Say where the training rows are"),
    ],
)
def test_bad_files_of_settings_are_refused(content: str, message: str, here: Path, mixunlearn: MixUnlearn) -> None:
    (here / "request.yaml").write_text(content)
    code, out, err = mixunlearn("run", "--config", "request.yaml")
    assert code == 2 and out == "" and message in err


def test_no_request_says_how_to_make_one(digits: Path, here: Path, mixunlearn: MixUnlearn) -> None:
    settings = yaml.safe_load((digits / "request.yaml").read_text())
    (here / "request.yaml").write_text(yaml.safe_dump({**settings, "request": {}}))
    code, _, err = mixunlearn("plan", "--config", "request.yaml")
    assert code == 2 and "Say what to forget" in err


def test_results_are_not_overwritten_unasked(digits: Path, here: Path, mixunlearn: MixUnlearn) -> None:
    words = ["run", "--config", digits / "request.yaml", "--output_dir", "out", "--max_steps", 1]
    assert mixunlearn(*words)[0] == 0
    before = snapshot(here / "out")
    code, _, err = mixunlearn(*words)
    assert code == 2 and "OutputExistsError" in err
    assert snapshot(here / "out") == before
    assert mixunlearn(*words, "--overwrite_output_dir", "--max_steps", 2)[0] == 0


def test_two_runs_do_not_write_to_one_folder(digits: Path, here: Path, mixunlearn: MixUnlearn) -> None:
    words = ["run", "--config", digits / "request.yaml", "--output_dir", "out", "--max_steps", 1]
    (here / "out").mkdir()
    with FileLock(here / "out" / ".lock"):
        code, _, err = mixunlearn(*words)
        assert code == 2 and "Another run is writing" in err
    assert mixunlearn(*words)[0] == 0
    assert not (here / "out" / ".lock").exists()


def test_commands_and_help(mixunlearn: MixUnlearn) -> None:
    assert mixunlearn()[0] == 2
    assert mixunlearn("unlearn")[0] == 2
    for words in (["--help"], ["--version"]):
        code, out, _ = mixunlearn(*words)
        assert code == 0 and out
    for command in ("plan", "run", "evaluate"):
        with pytest.raises(SystemExit) as stopped:
            mixunlearn(command, "--help")
        assert stopped.value.code == 0


def test_help_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    for words, most in ((["--help"], 80), (["--help_all"], 400)):
        with pytest.raises(SystemExit):
            parse("run", words)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) < most
        assert all(len(line) < 119 for line in lines if most == 80)
        assert any("generator_interval" in line for line in lines)
        assert any("warmup_steps" in line for line in lines) == (most == 400)


def test_no_two_sections_share_a_name() -> None:
    """A setting is told by its name alone."""
    names = known_names()
    assert len(names) == len(set(names))
    assert not set(SECTIONS) & set(names)


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "request.yaml").write_text("training:\n  learning_rate: 1e-5\n  seed: 3\nclasses: [1, 2]\n")
    words = ["--config", str(tmp_path / "request.yaml"), "--training.seed", "7", "--request.classes=4", "--json"]
    (data, request, training, _), as_json = parse("run", words)
    assert (training.learning_rate, training.seed, request.classes, as_json) == (1e-5, 7, ["4"], True)
    assert data.test_split == "test"


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mixunlearn_hf", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip()


def test_reading_a_broken_file_is_not_logged(here: Path, digits: Path, mixunlearn: MixUnlearn) -> None:
    """`datasets` logs what a parser stumbles over, which can be a row."""
    before = datasets.logging.get_verbosity()
    _, out, err = mixunlearn("run", "--config", digits / "request.yaml", "--train_file", "corrupt.json")
    assert CANARY not in (out + err).replace(str(digits), "")
    assert datasets.logging.get_verbosity() == before


def test_ids_in_a_file_stay_as_they_are_written(tmp_path: Path) -> None:
    """To YAML, 0123 is 83 and 1:30 is 90: other users."""
    (tmp_path / "request.yaml").write_text("column: user\nvalues: [0123, 1:30, no, null, 1e3]\nmax_length: null\n")
    (data, request, _, _), _ = parse("run", ["--config", str(tmp_path / "request.yaml")])
    assert request.values == ["0123", "1:30", "no", "null", "1e3"] and data.max_length is None


@pytest.mark.parametrize(
    "content",
    [
        "classes: [a]\nclasses: [b]\n",
        "column: user\nvalues: ['--max_steps=1']\n",
        "seed: 2024-02-31\n",
        "max_eval_rows: 0",
    ],
)
def test_settings_that_would_mean_something_else_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "request.yaml").write_text(content)
    with pytest.raises(ConfigError):
        parse("run", ["--config", str(tmp_path / "request.yaml")])


def test_a_run_is_not_resumed_with_another_request(digits: Path, here: Path, mixunlearn: MixUnlearn) -> None:
    words = ["run", "--config", digits / "request.yaml", "--output_dir", "out", "--max_steps", 2]
    assert mixunlearn(*words)[0] == 0
    before = snapshot(here)
    code, _, err = mixunlearn(*words, "--classes", "two", "--resume_from_checkpoint", "true")
    assert code == 2 and "forgets other rows" in err
    assert mixunlearn(*words, "--classes", "nope", "--overwrite_output_dir")[0] == 2
    assert snapshot(here) == before


def test_a_test_set_in_another_class_order_is_refused(digits: Path, here: Path, mixunlearn: MixUnlearn) -> None:
    rows = datasets.Dataset.from_parquet(str(digits / "test.parquet"), cache_dir=str(here / "read"))
    backwards = datasets.ClassLabel(names=NAMES[::-1])
    rows.cast_column("label", datasets.Value("int64")).cast_column("label", backwards).to_parquet(
        here / "test.parquet"
    )
    words = ["--config", digits / "request.yaml", "--test_file", "test.parquet", "--output_dir", "out"]
    code, _, err = mixunlearn("evaluate", *words)
    assert code == 2 and "another order" in err

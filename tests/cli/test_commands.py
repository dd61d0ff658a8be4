"""What the commands do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from command_line import CANARY, NAMES, in_a_process, snapshot
from PIL import Image
from transformers import AutoModelForImageClassification, TrainerCallback

from mixunlearn_hf import MixUnlearnTrainer
from mixunlearn_hf.cli.run import RESULTS_NAME

MixUnlearn = Callable[..., tuple[int, str, str]]


def test_run_forgets_a_class_and_says_so(digits: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    code, out, _ = mixunlearn("run", "--config", digits / "request.yaml", "--output_dir", tmp_path / "out", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer == json.loads((tmp_path / "out" / RESULTS_NAME).read_text())
    before, after = (answer["evaluation"][moment]["sets"] for moment in ("before", "after"))
    train = datasets.Dataset.from_parquet(str(digits / "train.parquet"), cache_dir=str(tmp_path))
    assert before["forget"]["rows"] == train["label"][:].count(0) == answer["request"]["rows"]["forget"]
    assert before["forget"]["accuracy"] > 0.9 and after["forget"]["accuracy"] < 0.05
    assert after["test_forgotten"]["accuracy"] < 0.1
    assert after["retain"]["accuracy"] > before["retain"]["accuracy"] - 0.05
    assert set(answer["request"]["digests"]) == {"forget", "retain", "test"}
    assert answer["training"]["settings"]["learning_rate"] == 1e-3
    AutoModelForImageClassification.from_pretrained(tmp_path / "out")


def test_evaluate_repeats_what_run_measured(digits: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    config = ["--config", digits / "request.yaml", "--json"]
    _, out, _ = mixunlearn("run", *config, "--output_dir", tmp_path / "out", "--num_train_epochs", 1)
    done = snapshot(tmp_path / "out")
    for model, moment in ((digits / "model", "before"), (tmp_path / "out", "after")):
        code, again, _ = mixunlearn("evaluate", *config, "--model", model, "--output_dir", tmp_path / "none")
        assert code == 0
        assert json.loads(again)["evaluation"]["model"] == json.loads(out)["evaluation"][moment]
    assert snapshot(tmp_path / "out") == done and not (tmp_path / "none").exists()


def test_plan_counts_what_run_does_and_changes_nothing(digits: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    words = ["--config", digits / "request.yaml", "--output_dir", tmp_path / "out", "--json", "--retrain_epochs", 3]
    before = snapshot(digits)
    code, out, _ = mixunlearn("plan", *words)
    assert code == 0
    assert snapshot(digits) == before and not (tmp_path / "out").exists()
    plan = json.loads(out)
    results = json.loads(mixunlearn("run", *words)[1])
    assert plan["cost"]["steps"] == results["training"]["steps"]
    assert plan["request"] | {"digests": {}, "digest_key": None} == results["request"] | {
        "digests": {},
        "digest_key": None,
    }
    measured = plan["evaluation"]["model"]["sets"]
    assert measured["test"] == results["evaluation"]["before"]["sets"]["test"]  # fewer rows than are sampled
    assert plan["cost"]["seconds"]["total"] > 0 and plan["cost"]["peak_memory_bytes"] > 1e7
    assert plan["cost"]["retraining"]["epochs"] == 3 and plan["cost"]["retraining"]["seconds"] > 0
    assert set(plan["related"]["found"]) == {"retain", "test"}
    assert plan["copies_on_disk"] == 2


def test_the_printed_plan_answers_the_first_questions(digits: Path, mixunlearn: MixUnlearn) -> None:
    words = ["--column", "user", "--values", f"{CANARY}-3", f"{CANARY}-4", "--classes", "zero", "three"]
    code, out, _ = mixunlearn("plan", "--config", digits / "request.yaml", *words)
    assert code == 0
    for part in (
        "rows",
        "What else carries",
        "Is there anything to forget?",
        "Cost",
        "Retraining",
        "Nothing was changed",
    ):
        assert part in out
    assert CANARY not in out


def test_rows_of_classes_that_stay_get_a_holdout(digits: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    request = ["--column", "user", "--values", f"{CANARY}-3", "--classes", *NAMES, "--max_steps", 2, "--json"]
    words = ["run", "--config", digits / "request.yaml", *request]
    rows = json.loads(mixunlearn(*words, "--output_dir", tmp_path / "half")[1])["request"]["rows"]
    assert (rows["holdout"], rows["test"]) == pytest.approx((150, 150), abs=5)
    rows = json.loads(mixunlearn(*words, "--output_dir", tmp_path / "none", "--holdout", 0)[1])["request"]["rows"]
    assert "holdout" not in rows and rows["test"] == 300


def test_related_rows_are_moved_on_request(digits: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    """Twenty rows of the user stand a second time under another user."""
    train = datasets.Dataset.from_parquet(str(digits / "train.parquet"), cache_dir=str(tmp_path))
    mine = [i for i, user in enumerate(train["user"]) if user in (f"{CANARY}-3", f"{CANARY}-4")]
    copies = train.select(mine).map(lambda row: {"user": f"{CANARY}-other"}, keep_in_memory=True)
    datasets.concatenate_datasets([train, copies]).to_parquet(tmp_path / "train.parquet")
    settings = yaml.safe_load((digits / "request.yaml").read_text())
    settings["data"]["train_file"] = str(tmp_path / "train.parquet")
    settings["request"] = {"column": "user", "values": [f"{CANARY}-3", f"{CANARY}-4"]}
    settings["training"] |= {"max_steps": 2, "output_dir": str(tmp_path / "out")}
    (tmp_path / "request.yaml").write_text(yaml.safe_dump(settings))
    words = ["--config", tmp_path / "request.yaml", "--json"]
    plan = json.loads(mixunlearn("plan", *words)[1])
    assert plan["related"]["found"]["retain"]["exact"]["rows"] == len(mine) == 20
    code, out, _ = mixunlearn("run", *words)
    assert code == 2 and "related" in json.loads(out)["error"]["message"]
    assert not (tmp_path / "out").exists()
    rows = json.loads(mixunlearn("run", *words, "--request.related", "move")[1])["request"]["rows"]
    assert rows["forget"] >= 40 and rows["forget"] + rows["retain"] == 620


def test_texts_by_phrase_and_by_file_of_users(sentences: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    (tmp_path / "users.txt").write_text(f"{CANARY}-u-21\n\n{CANARY}-u-60\n")
    words = ["run", "--config", sentences / "request.yaml", "--json"]
    by_users = ["--column", "user", "--values_file", tmp_path / "users.txt"]
    for number, (request, kind) in enumerate(
        [
            (by_users, "column"),
            (["--contains", "Pellworth Tea", "Brimholt"], "contains"),
            (["--contains_pattern", r"(?i)pellworth\s+tea"], "contains"),
        ]
    ):
        code, out, err = mixunlearn(*words, *request, "--output_dir", tmp_path / str(number))
        assert code == 0, out + err
        answer = json.loads(out)
        assert [one["selector"] for one in answer["request"]["selectors"]] == [kind]
        assert 1 < answer["request"]["rows"]["forget"] < 10
        assert answer["evaluation"]["after"]["memorisation"] is None  # there are no unseen rows


@pytest.mark.slow
def test_nothing_of_the_forget_rows_is_left_in_files_and_logs(sentences: Path, digits: Path, tmp_path: Path) -> None:
    """Every user id, text and file name holds the canary, and so does the request."""
    words = ["--column", "user", "--values", f"{CANARY}-u-21", "--contains", CANARY, "--output_dir", "out"]
    for command in ("plan", "run", "evaluate"):
        config = ["--config", sentences / "request.yaml"]
        done = in_a_process("mixunlearn_hf", command, *config, *words, "--logging_steps", 1, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert CANARY not in done.stdout + done.stderr
    written = snapshot(tmp_path / "out")
    assert RESULTS_NAME in written and any("checkpoint" in name for name in written)
    assert not [name for name, content in written.items() if CANARY.encode() in content]

    words = ["--column", "user", "--values", f"{CANARY}-7", f"{CANARY}-8", "--output_dir", "out2", "--max_steps", 2]
    config = ["--config", digits / "request.yaml", "--classes", *NAMES]
    done = in_a_process("mixunlearn_hf", "run", *config, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    train = datasets.Dataset.from_parquet(str(digits / "train.parquet"), cache_dir=str(tmp_path / "read"))
    stored = train.cast_column("image", datasets.Image(decode=False)).filter(
        lambda row: row["user"] in (f"{CANARY}-7", f"{CANARY}-8"), keep_in_memory=True
    )
    pictures = [image["bytes"] for image in stored["image"]]
    assert pictures
    for name, content in snapshot(tmp_path / "out2").items():
        assert CANARY.encode() not in content, name
        assert not any(picture in content for picture in pictures), name


@pytest.mark.slow
@pytest.mark.distributed
def test_run_under_accelerate_launch(digits: Path, tmp_path: Path) -> None:
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0]
    words = ["-m", "mixunlearn_hf", "run", "--config", digits / "request.yaml", "--output_dir", "out", "--json"]
    done = in_a_process(*launch, *words, "--max_steps", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)  # once, by one of the processes
    assert answer == json.loads((tmp_path / "out" / RESULTS_NAME).read_text())
    assert answer["evaluation"]["before"]["sets"]["forget"]["rows"] == answer["request"]["rows"]["forget"]


def test_a_failure_shows_no_row(
    digits: Path, tmp_path: Path, mixunlearn: MixUnlearn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"cannot convert {CANARY}")

    monkeypatch.setattr(MixUnlearnTrainer, "training_step", fail)
    words = ["run", "--config", digits / "request.yaml", "--output_dir", tmp_path / "out"]
    code, out, err = mixunlearn(*words)
    assert code == 1 and "RuntimeError" in err and CANARY not in out + err
    code, out, err = mixunlearn(*words, "--json")
    assert code == 1 and CANARY not in out + err
    assert json.loads(out)["error"]["type"] == "RuntimeError"
    assert not (tmp_path / "out" / RESULTS_NAME).exists()


def test_a_run_that_is_not_finite_fails(
    digits: Path, tmp_path: Path, mixunlearn: MixUnlearn, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--learning_rate", 1e30, "--output_dir", tmp_path / "out", "--max_grad_norm", 0]
    code, _, err = mixunlearn("run", "--config", digits / "request.yaml", *words)
    assert code == 1 and "NonFiniteObjectiveError" in err
    assert not (tmp_path / "out" / RESULTS_NAME).exists()


def test_images_in_a_folder(digits: Path, tmp_path: Path, mixunlearn: MixUnlearn) -> None:
    rows = datasets.Dataset.from_parquet(str(digits / "train.parquet"), cache_dir=str(tmp_path / "read"))
    for i, row in enumerate(rows.select(range(60))):
        path = (
            tmp_path
            / "images"
            / ("train" if i < 40 else "test")
            / f"{row['label']}-{NAMES[row['label']]}"
            / f"{i}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(row["image"], Image.Image)
        row["image"].save(path)
    words = ["--dataset", tmp_path / "images", "--output_dir", tmp_path / "out", "--max_steps", 1, "--json"]
    settings = yaml.safe_load((digits / "request.yaml").read_text())
    flat = {"model": settings["data"]["model"], **settings["training"], "classes": ["3-three"]}
    (tmp_path / "request.yaml").write_text(yaml.safe_dump(flat))
    code, out, _ = mixunlearn("run", "--config", tmp_path / "request.yaml", *words)
    assert code == 0, out
    assert set(json.loads(out)["request"]["rows_per_class"]["forget"]) == {"3-three"}


def test_resume_goes_on_where_it_stopped(
    digits: Path, tmp_path: Path, mixunlearn: MixUnlearn, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "--config", digits / "request.yaml", "--json", "--save_steps", 3, "--max_steps", 6]
    whole = json.loads(mixunlearn(*words, "--output_dir", tmp_path / "whole")[1])

    class Stop(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 4:
                raise KeyboardInterrupt

    train = MixUnlearnTrainer.train
    with monkeypatch.context() as patched:
        patched.setattr(
            MixUnlearnTrainer, "train", lambda self, *a, **k: (self.add_callback(Stop()), train(self, *a, **k))
        )
        assert mixunlearn(*words, "--output_dir", tmp_path / "parts")[0] == 1
    assert mixunlearn(*words, "--output_dir", tmp_path / "parts")[0] == 2  # not over what is there
    parts = json.loads(mixunlearn(*words, "--output_dir", tmp_path / "parts", "--resume_from_checkpoint", "true")[1])
    assert parts["evaluation"]["after"] == whole["evaluation"]["after"]

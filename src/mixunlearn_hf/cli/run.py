"""`mixunlearn run`: forget, evaluate before and after, save the model and the results."""

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from transformers import PrinterCallback, Trainer

from ..data.record import RECORD_NAME, SplitRecord
from ..errors import ConfigError, OutputExistsError
from ..evaluation.measure import memorisation, outputs_of, scores_of
from ..files import write_json, write_text
from ..planning.memory import MemoryPeak
from ..trainer.checks import claim_output_dir
from ..trainer.config import MixUnlearnConfig
from ..trainer.targets import FORGOTTEN
from .clock import Clock, rounded
from .options import DataOptions, PlanOptions, RequestOptions
from .request import Prepared, prepare
from .tables import request_table, scores_table

RESULTS_NAME = "unlearning_results.json"
PACKAGES = ("mixunlearn-hf", "torch", "transformers", "datasets", "accelerate")


def run(
    data: DataOptions, request: RequestOptions, training: MixUnlearnConfig, _: PlanOptions
) -> dict[str, Any] | None:
    """Carry a request out. Gives the results in the main process, after they were written."""
    clock = Clock()
    folder, resumes = Path(str(training.output_dir)), str(training.resume_from_checkpoint or "")
    with _alone_in(folder, training.process_index == 0):
        if not (resumes or training.overwrite_output_dir):  # `train` removes old checkpoints, once all is checked
            claim_output_dir(str(folder), overwrite=False)
        prepared = prepare(data, request, training)
        record = prepared.splits.digest(request.digest_key)
        if resumes:
            _require_same_request(folder, record)
        trainer = prepared.trainer(training)
        if trainer.is_world_process_zero():
            write_text(folder / RECORD_NAME, record.to_json())
        trainer.remove_callback(PrinterCallback)
        clock.lap("preparing")
        with MemoryPeak() as peak:
            before = evaluate(trainer, prepared, data, training)
            clock.lap("evaluation")
            trainer.train(resume_from_checkpoint=True if resumes.lower() == "true" else resumes or None)
            clock.lap("training")
            after = evaluate(trainer, prepared, data, training)
            clock.lap("evaluation")
            if trainer.is_world_process_zero():
                (folder / RESULTS_NAME).unlink(missing_ok=True)  # of the model that was there
            trainer.save_model()
            clock.lap("saving")
        if not trainer.is_world_process_zero():
            return None
        results = {
            "format": 1,
            "method": "mixunlearn",
            "model": data.model,
            "request": record.to_dict(),
            "related": None if prepared.related is None else prepared.related.counts(),
            "evaluation": {"before": before, "after": after},
            "training": {
                "steps": trainer.state.global_step,
                "forget_agreement": _last(trainer, "forget_agreement"),
                "settings": _settings(training),
            },
            "seconds": rounded(clock.seconds),
            "peak_memory_bytes": peak.bytes,
            "packages": {name: version(name) for name in PACKAGES},
        }
        write_json(folder / RESULTS_NAME, results)
        if training.push_to_hub:
            trainer.push_to_hub()
        return results


def _require_same_request(folder: Path, record: SplitRecord) -> None:
    """Checkpoints in a folder are of the request whose record stands there."""
    if not (folder / RECORD_NAME).exists():
        return
    begun = SplitRecord.load(folder)
    if (begun.digest_key, begun.digests.get("forget")) != (record.digest_key, record.digests["forget"]):
        raise ConfigError(
            f"The run in {str(folder)!r} forgets other rows ({begun.rows['forget']}, here {record.rows['forget']}), "
            "or its digests have another key. Resume it with its own request, or choose another `output_dir`."
        )


@contextlib.contextmanager
def _alone_in(folder: Path, main_process: bool) -> Iterator[None]:
    """Make the folder and keep other runs out of it; leave none that is empty."""
    lock, made = FileLock(folder / ".lock", timeout=0), not folder.exists()
    try:
        if main_process:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise OutputExistsError(f"Another run is writing to `output_dir` {str(folder)!r}. Choose another.") from None
    except OSError as error:
        raise ConfigError(f"`output_dir` {str(folder)!r} cannot be written to ({type(error).__name__}).") from None
    try:
        yield
    finally:
        if main_process:
            (folder / ".lock").unlink(missing_ok=True)
            lock.release()
            with contextlib.suppress(OSError):
                if made:
                    folder.rmdir()  # unless something is in it


def evaluate(trainer: Trainer, prepared: Prepared, data: DataOptions, training: MixUnlearnConfig) -> dict[str, Any]:
    """Scores of each set, and whether the loss tells the forget rows from unseen ones."""
    sets = prepared.measured(data.max_eval_rows, training.seed)
    outputs = {name: outputs_of(trainer, rows) for name, rows in sets.items()}
    return {
        "sets": scores_of(outputs, prepared.going),
        "memorisation": memorisation(outputs["forget"], outputs["test"]) if "test" in outputs else None,
    }


def _last(trainer: Trainer, name: str) -> float | None:
    """The last logged value, if any."""
    return next((entry[name] for entry in reversed(trainer.state.log_history) if name in entry), None)


def _settings(training: MixUnlearnConfig) -> dict[str, Any]:
    """Settings that are not the library's defaults, paths and secrets aside."""
    defaults = MixUnlearnConfig(output_dir=training.output_dir).to_dict()
    hidden = ("dir", "path", "token", "hub_", "run_name", "resume", "logging_", "report_to", "overwrite")
    return {
        name: value
        for name, value in training.to_dict().items()
        if value != defaults[name] and not any(word in name for word in hidden)
    }


def show(results: dict[str, Any]) -> str:
    seconds = results["seconds"]
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "total")
    memory = results["peak_memory_bytes"] / 1e9
    return "\n".join(
        [
            request_table(results["request"]),
            "",
            scores_table(results["evaluation"]),
            "",
            f"{results['training']['steps']} steps in {seconds['total']:.1f} s ({parts}), at most {memory:.1f} GB.",
            f"The model and {RESULTS_NAME} are saved.",
            *_not_forgotten(results["training"]["forget_agreement"]),
        ]
    )


def _not_forgotten(share: float | None) -> list[str]:
    if share is None or share <= FORGOTTEN:
        return []
    return [
        "",
        f"NOT FORGOTTEN: {share:.0%} of the rows of classes that should go still get their class. Raise "
        "`num_train_epochs`, lower `per_device_train_batch_size`, or raise `learning_rate`.",
    ]

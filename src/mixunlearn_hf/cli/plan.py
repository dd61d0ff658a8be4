"""`mixunlearn plan`: what a request will do, touch and cost. Changes nothing."""

import copy
import math
import secrets
import tempfile
import time
from typing import Any

from transformers import PrinterCallback

from ..evaluation.measure import memorisation, outputs_of, scores_of
from ..planning.cost import quiet, rows_asked, time_retraining, time_unlearning, total_steps
from ..related.find import find_related
from ..trainer.config import MixUnlearnConfig
from .clock import Clock
from .options import DataOptions, PlanOptions, RequestOptions
from .request import Prepared, prepare
from .tables import cost_table, memorisation_lines, related_table, request_table, scores_table

SAMPLE = 1000  # rows of each set that are looked at
TRIAL_BATCHES = 64  # batches of pairs from which the timed steps are drawn


def run(data: DataOptions, request: RequestOptions, training: MixUnlearnConfig, plan: PlanOptions) -> dict[str, Any]:
    """Resolve a request, look for what still carries it, and time a few steps, in a temporary folder."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = copy.copy(training)
        settings.output_dir, settings.allow_shared_rows = folder, True
        prepared = prepare(data, request, settings)
        copy.copy(prepared.splits).digest(secrets.token_bytes(32))  # `run` takes this time too
        trainer = prepared.trainer(settings)
        trainer.remove_callback(PrinterCallback)
        preparing = clock.lap("preparing")

        sets = prepared.measured(SAMPLE, settings.seed)
        outputs_of(trainer, next(iter(sets.values())).select([0]))  # the first batch is slow
        start = time.perf_counter()
        outputs = {name: outputs_of(trainer, rows) for name, rows in sets.items()}
        seconds_a_row = (time.perf_counter() - start) / sum(map(len, outputs.values()))
        known = memorisation(outputs["forget"], outputs["test"]) if "test" in outputs else None
        start = time.perf_counter()
        trainer.save_model(folder)
        saving = time.perf_counter() - start

        epochs = math.ceil(len(prepared.splits["retain"]) / plan.retrain_batch_size) * plan.retrain_epochs
        retraining, retrain_memory = time_retraining(
            trainer, trainer.train_dataset.retain, plan.retrain_batch_size, math.ceil(epochs)
        )
        steps = total_steps(trainer)
        asked = rows_asked(trainer, classes_stay=not prepared.going)
        del trainer
        sample = TRIAL_BATCHES * settings.per_device_train_batch_size
        trial = lambda args: prepared.trainer(args, sample)  # noqa: E731
        training_seconds, memory = time_unlearning(trial, settings, steps)
    evaluated = sum(map(len, prepared.measured(data.max_eval_rows, settings.seed).values()))
    seconds = {
        "preparing": preparing,
        "evaluation": 2 * evaluated * seconds_a_row,
        "training": asked * seconds_a_row + training_seconds,
        "saving": saving,
    }
    related = find_related(prepared.splits, columns=data.input_column, progress=not settings.disable_tqdm)
    return {
        "model": data.model,
        "request": prepared.splits.record.to_dict(),
        "related": related.to_dict(),
        "classes_that_go": len(prepared.going),
        "copies_on_disk": _files(prepared),
        "evaluation": {"model": {"sets": scores_of(outputs, prepared.going), "memorisation": known}},
        "cost": {
            "steps": steps,
            "seconds": {name: round(value, 2) for name, value in {**seconds, "total": sum(seconds.values())}.items()},
            "peak_memory_bytes": memory,
            "retraining": {
                "epochs": plan.retrain_epochs,
                "batch_size": plan.retrain_batch_size,
                "seconds": round(retraining, 2),
                "peak_memory_bytes": retrain_memory,
            },
        },
    }


def _files(prepared: Prepared) -> int:
    """Files of the cache of `datasets` that hold the rows."""
    return len({file["filename"] for part in prepared.splits.values() for file in part.cache_files})


def show(answer: dict[str, Any]) -> str:
    return "\n\n".join(
        [
            request_table(answer["request"]),
            related_table(answer["related"], answer["copies_on_disk"]),
            scores_table(answer["evaluation"]),
            memorisation_lines(answer["evaluation"]["model"], bool(answer["classes_that_go"])),
            cost_table(answer["cost"]),
            "Nothing was changed. `mixunlearn run` with the same settings does it.",
        ]
    )

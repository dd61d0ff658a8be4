"""`mixunlearn plan`: what a request will do, touch and cost. Changes nothing."""

import copy
import math
import secrets
import tempfile
from typing import Any

from transformers import PrinterCallback

from ..evaluation.measure import memorisation, outputs_of, scores_of
from ..planning.cost import quiet, rows_asked, time_retraining, time_unlearning, total_steps
from ..related.find import find_related
from ..trainer.config import MixUnlearnConfig
from .clock import Clock, rounded
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
        seconds = {"preparing": clock.lap("preparing")}

        sets = prepared.measured(SAMPLE, settings.seed)
        outputs_of(trainer, sets["forget"].select([0]))  # the first batch is slow
        clock.lap("warming up")
        outputs = {name: outputs_of(trainer, rows) for name, rows in sets.items()}
        a_row = clock.lap("evaluation") / sum(map(len, outputs.values()))
        trainer.save_model(folder)
        saving = clock.lap("saving")

        retrain_steps = math.ceil(plan.retrain_epochs * len(prepared.splits["retain"]) / plan.retrain_batch_size)
        retain = trainer.train_dataset.retain
        retraining, retrain_memory = time_retraining(trainer, retain, plan.retrain_batch_size, retrain_steps)
        steps = total_steps(trainer)
        asked = rows_asked(trainer, classes_stay=not prepared.going)
        del trainer
        sample = TRIAL_BATCHES * settings.per_device_train_batch_size
        stepping, memory = time_unlearning(lambda trial: prepared.trainer(trial, sample), settings, steps)
    evaluated = sum(map(len, prepared.measured(data.max_eval_rows, settings.seed).values()))
    seconds |= {"evaluation": 2 * evaluated * a_row, "training": asked * a_row + stepping, "saving": saving}
    related = find_related(prepared.splits, columns=data.input_column, progress=not settings.disable_tqdm)
    known = memorisation(outputs["forget"], outputs["test"]) if "test" in outputs else None
    return {
        "model": data.model,
        "request": prepared.splits.record.to_dict(),
        "related": related.to_dict(),
        "classes_that_go": len(prepared.going),
        "copies_on_disk": _files(prepared),
        "evaluation": {"model": {"sets": scores_of(outputs, prepared.going), "memorisation": known}},
        "cost": {
            "steps": steps,
            "seconds": rounded(seconds),
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

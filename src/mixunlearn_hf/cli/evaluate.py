"""`mixunlearn evaluate`: what a model says of the rows of a request."""

import copy
import tempfile
from typing import Any

from transformers import PrinterCallback

from ..trainer.config import MixUnlearnConfig
from .options import DataOptions, PlanOptions, RequestOptions
from .request import prepare
from .run import evaluate
from .tables import request_table, scores_table


def run(
    data: DataOptions, request: RequestOptions, training: MixUnlearnConfig, _: PlanOptions
) -> dict[str, Any] | None:
    """Evaluate `model` on the sets of a request. Writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        settings = copy.copy(training)
        settings.output_dir, settings.allow_shared_rows = folder, True
        prepared = prepare(data, request, settings)
        trainer = prepared.trainer(settings)
        trainer.remove_callback(PrinterCallback)
        scores = evaluate(trainer, prepared, data, settings)
        if not trainer.is_world_process_zero():
            return None
        return {"model": data.model, "request": prepared.splits.record.to_dict(), "evaluation": {"model": scores}}


def show(answer: dict[str, Any]) -> str:
    return f"{request_table(answer['request'])}\n\n{scores_table(answer['evaluation'])}"

"""The base that every unlearning method shares: paired data, a frozen original model, targets, checks and logs."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    AutoConfig,
    EvalPrediction,
    PreTrainedModel,
    TrainerCallback,
    default_data_collator,
    set_seed,
)
from transformers.trainer_utils import TrainOutput

from ..classifier import bare, input_names, logits_of, longest_text, main_input
from ..data.pairs import VALUES, PairCollator, PairedDataset
from ..data.rows import NO_LABEL, Rows
from ..errors import ConfigError, DataError, NonFiniteObjectiveError
from .checks import (
    check_batch,
    check_class_order,
    check_head,
    check_lengths,
    check_rows,
    check_unshared,
    claim_output_dir,
    count_classes,
    last_complete_checkpoint,
    refused_batch,
)
from .config import LEAST_STEPS, PASSES, UnlearningConfig
from .filled import FilledSampler
from .targets import TargetedTrainer


class UnlearningTrainer(TargetedTrainer):
    """[`~transformers.Trainer`] over pairs of a forget and a retain row. A method overrides [`unlearning_loss`].

    Everything else is the Trainer's: devices, schedules, several evaluation sets, callbacks, checkpoints, gradient
    accumulation. An epoch is one pass over the forget set; a forget set far smaller than a batch is repeated in it
    (see `filled.py`).

    Args:
        model (`nn.Module` or `str`): the trained classifier, or its path or Hub id. It is changed in place. A module
            of your own takes named inputs and returns logits, or something with `logits` (see `docs/models.md`).
        args ([`UnlearningConfig`]): settings; default ones with `output_dir="unlearned"` where left out.
        forget_dataset, retain_dataset: the two parts of the training data, from [`split_forget_retain`]. Rows are
            model inputs, or raw images or text with `processing_class`.
        holdout_dataset: rows the model was never trained on and is not judged by. Needed to forget rows of classes
            that stay: forgotten, they should look to the model like these (see `floor.py`).
        eval_dataset: one data set or a dictionary of them, such as `{"forget": ..., "retain": ..., "test": ...}`.
        processing_class: the model's image processor or tokenizer; saved with the model.
        data_collator: as in Trainer, for lists of rows; labels never reach it during unlearning.
        compute_metrics: as in Trainer; accuracy where left out.
        callbacks, optimizers, preprocess_logits_for_metrics: as in Trainer.

    Attributes:
        original_model: a frozen copy of the model as it came, in evaluation mode.

    Raises:
        UnsupportedModelError, DataError, ConfigError: what came does not fit together; before any training.
    """

    _tag_names: ClassVar[list[str]] = ["unlearning"]
    config_class: ClassVar[type[UnlearningConfig]] = UnlearningConfig
    loss_is_scaled_for_ga = False  # the objective is a mean over the micro-batch

    def __init__(
        self,
        model: torch.nn.Module | str,
        args: UnlearningConfig | None = None,
        *,
        forget_dataset: Any,
        retain_dataset: Any,
        holdout_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        preprocess_logits_for_metrics: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        args = self.config_class(output_dir="unlearned") if args is None else args
        if not isinstance(args, self.config_class):
            raise ConfigError(f"`args` must be a {self.config_class.__name__}, got {type(args).__name__}.")
        if args.n_gpu > 1:
            raise ConfigError(
                f"This process sees {args.n_gpu} GPUs and would replicate the model with `nn.DataParallel`, which "
                "mixing does not survive. Start one process a GPU with `accelerate launch`, or set "
                "CUDA_VISIBLE_DEVICES to one."
            )
        model = load_classifier(model) if isinstance(model, str) else model
        check_head(model)
        self._config = getattr(bare(model), "config", None)
        self._input_names, self._main_input = input_names(model), main_input(model)
        self._longest = longest_text(model)
        self._gives_loss = isinstance(bare(model), PreTrainedModel) and "labels" in self._input_names
        self._label_column = args.label_column
        forget = self._rows(forget_dataset, processing_class, "forget_dataset")
        retain = self._rows(retain_dataset, processing_class, "retain_dataset")
        holdout = None if holdout_dataset is None else self._rows(holdout_dataset, processing_class, "holdout_dataset")
        if isinstance(eval_dataset, dict):
            eval_dataset = {
                name: self._rows(rows, processing_class, f"eval_dataset[{name!r}]")
                for name, rows in eval_dataset.items()
            }
        elif eval_dataset is not None:
            eval_dataset = self._rows(eval_dataset, processing_class, "eval_dataset")
        self.num_labels = count_classes(model, forget, data_collator or default_data_collator)
        self._evaluated = list(eval_dataset.values()) if isinstance(eval_dataset, dict) else [eval_dataset]
        labelled_holdout = args.label_mode != "agnostic" and forget.label_column is not None
        for rows, mode in (
            (forget, args.label_mode),
            (retain, args.label_mode),
            (holdout, "labels" if labelled_holdout else args.label_mode),
            *((rows, "auto") for rows in self._evaluated),
        ):
            if rows is not None:
                check_rows(rows, self.num_labels, mode)
                check_lengths(rows, self._longest)
                check_class_order(rows, getattr(self._config, "id2label", None))
        if not args.allow_shared_rows:
            check_unshared(forget, retain)
            if holdout is not None:
                check_unshared(forget, holdout)
                check_unshared(retain, holdout)
        if not self._gives_loss and args.label_names is None:
            args.label_names = ["labels"]  # for evaluation, which computes the loss itself
        original_model: Any = copy.deepcopy(model).requires_grad_(False).eval()
        super().__init__(
            model=model,
            args=args,
            train_dataset=PairedDataset(forget, retain),
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            data_collator=data_collator,
            compute_metrics=accuracy if compute_metrics is None else compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
            preprocess_logits_for_metrics=preprocess_logits_for_metrics,
        )
        self.original_model = original_model.to(args.device)
        original_config: Any = getattr(bare(self.original_model), "config", None)
        if hasattr(original_config, "use_cache"):
            original_config.use_cache = False  # as the Trainer does with the model
        self.holdout = holdout
        self.data_collator = PairCollator(self.data_collator)
        self.model_accepts_loss_kwargs = False  # else Trainer hands evaluation losses to the model to scale
        self.sampler = FilledSampler(
            len(forget),
            len(retain),
            args.seed if args.data_seed is None else args.data_seed,
            args.train_batch_size * args.world_size,
        )
        self.add_callback(_SetEpoch(self.sampler))
        if args.num_train_epochs == 0:
            self.args = copy.copy(args)  # what is decided for these rows is not the caller's setting
            self.args.num_train_epochs = self._passes()
        self._terms: dict[str, list[Tensor]] = defaultdict(list)
        self._owns_output_dir = False
        self._gone = []
        if hasattr(self.model, "add_model_tags"):
            self.model.add_model_tags(self._tag_names)

    def _passes(self) -> int:
        """Passes over the forget set where the settings leave them open."""
        window = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        return max(PASSES, math.ceil(LEAST_STEPS / math.ceil(len(self.sampler) / window)))

    # ---- what a method overrides ----

    def unlearning_loss(self, model: torch.nn.Module, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> Tensor:
        """The objective on one batch of pairs, a scalar. `target` of shape `(B, C)` comes with both halves."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it minimises: override `unlearning_loss`.")

    def record(self, **terms: Tensor) -> None:
        """Log the mean of each term since the last log. A term that is not finite stops the training."""
        for name, value in terms.items():
            self._require_finite(name, value)
            self._terms[name].append(value.detach())

    def _require_finite(self, name: str, value: Tensor) -> None:
        if not torch.isfinite(value).all():
            raise NonFiniteObjectiveError(
                f"`{name}` is {value.item()} at step {self.state.global_step + 1}. Training stopped before this step; "
                f"checkpoints in {self.args.output_dir!r} are from before it. Lower `learning_rate` or raise the "
                "temperatures."
            )

    # ---- training ----

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as [`~transformers.Trainer.train`] does, after the checks and once the targets are known.

        Raises:
            OutputExistsError: `output_dir` already holds a run, and neither resuming nor overwriting was asked for.
            DataError, ConfigError: the first rows do not fit the model; there is nothing to resume from.
            NonFiniteObjectiveError: a term of the objective became NaN or infinite.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(str(self.args.output_dir))
        if not (resume_from_checkpoint or self._owns_output_dir):
            with self.args.main_process_first(desc="the check of output_dir"):
                claim_output_dir(str(self.args.output_dir), self.args.overwrite_output_dir)
        self._first_pair()
        for rows in self._evaluated:
            if rows is not None:
                self._try(self._prepare_inputs(self.data_collator.rows([rows[0]])))
        self._plan()
        self._owns_output_dir = True
        set_seed(self.args.seed)  # what happened since the construction has no say in the result
        self._terms.clear()
        output = super().train(resume_from_checkpoint, *args, **kwargs)
        broken = sum(not torch.isfinite(parameter).all() for parameter in self.model.parameters())
        if broken:
            raise NonFiniteObjectiveError(
                f"{broken} parameters of the model are not finite after the last step. Use a checkpoint from before "
                "it, and a lower `learning_rate`."
            )
        self._warn_unless_forgotten()
        return output

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # evaluating in the middle of a training must not change it
            return super().evaluation_loop(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._load_renamed(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._load_renamed(str(self.state.best_model_checkpoint))

    def _load_renamed(self, checkpoint: str) -> None:
        """Checkpoints can hold weights under older names, which `from_pretrained` knows and Trainer skips."""
        if isinstance(self.model, PreTrainedModel):
            self.model.load_state_dict(type(self.model).from_pretrained(checkpoint).state_dict())

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if "forget" not in inputs:  # evaluation
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        forget, retain = self._with_targets(inputs["forget"]), self._with_targets(inputs["retain"], True)
        loss = self.unlearning_loss(model, forget, retain)
        self._require_finite("loss", loss)
        return loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Any, Any]:
        if self._gives_loss:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        inputs = self._prepare_inputs(inputs)
        labels = inputs.pop("labels", None)
        with torch.no_grad(), self.accelerator.autocast():
            logits = logits_of(model(**inputs)).float()
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels, ignore_index=NO_LABEL)
        return (loss, None, None) if prediction_loss_only else (loss, logits, labels)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._terms:  # a training log, not an evaluation's
            means = {name: torch.stack(values).mean() for name, values in self._terms.items()}
            self._terms.clear()
            logs = {**logs, **{name: self._mean_over_processes(value) for name, value in means.items()}}
        super().log(logs, start_time)

    def _mean_over_processes(self, value: Tensor) -> float:
        return float(self.accelerator.gather(value.reshape(1)).mean())

    # ---- data ----

    def _rows(self, dataset: Any, processing_class: Any, name: str) -> Rows:
        if isinstance(dataset, Rows):
            return dataset
        if dataset is None:
            raise DataError(f"`{name}` is missing. Build the forget and the retain set with `split_forget_retain`.")
        return Rows(
            dataset,
            self._input_names,
            self._main_input,
            processing_class,
            self._label_column,
            name,
            self._longest,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        if eval_dataset is not None and not isinstance(eval_dataset, str):
            eval_dataset = self._rows(eval_dataset, self.processing_class, "eval_dataset")
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        return super().get_test_dataloader(self._rows(test_dataset, self.processing_class, "test_dataset"))

    def _get_train_sampler(self, train_dataset: Any = None) -> FilledSampler:
        return self.sampler

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = [*(self._signature_columns or []), "forget", "retain"]  # else the Trainer's collator empties pairs
        self._signature_columns = columns  # type: ignore[assignment]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        halves = [inputs[name] for name in ("forget", "retain") if name in inputs] or [inputs]
        return sum(super(UnlearningTrainer, self).floating_point_ops(half) for half in halves)

    def _first_pair(self, number: int = 0) -> dict[str, dict[str, Tensor]]:
        """The first forget and the first retain row as a batch of model inputs, checked against the model.

        Or those of another number.
        """
        pair = self.train_dataset.__getitems__([(number, number)])
        batch: dict[str, Any] = self._prepare_inputs(self.data_collator(pair))
        inputs = {
            name: {key: value for key, value in half.items() if key not in ("labels", *VALUES)}
            for name, half in batch.items()
        }
        for half in inputs.values():
            self._try(half)
        return inputs

    def _try(self, batch: dict[str, Any]) -> None:
        """Refuse a batch of one row that the model does not give as many finite probabilities as it has classes."""
        batch = {name: value for name, value in batch.items() if name != "labels"}
        check_batch(self.original_model, batch, self._main_input, self._longest)
        try:
            probabilities = self._predict(batch)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise refused_batch(self.original_model, batch, self._main_input, error) from error
        if probabilities.shape != (1, self.num_labels) or not torch.isfinite(probabilities).all():
            raise DataError(
                f"For the first row the model gives probabilities of the shape {tuple(probabilities.shape)[1:]}, "
                f"{int(torch.isfinite(probabilities).sum())} of them finite; {self.num_labels} finite ones are "
                "expected (`config.num_labels`). Check the model's head, its weights and the row's inputs."
            )


class _SetEpoch(TrainerCallback):
    """Tells the sampler the epoch: accelerate does not reach it in several processes after a resume."""

    def __init__(self, sampler: FilledSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.sampler.set_epoch(int(state.epoch))


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Accuracy over the rows with a label, the default `compute_metrics`; empty where no row has one."""
    if prediction.label_ids is None:
        return {}
    logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    labelled = np.asarray(prediction.label_ids) != NO_LABEL
    if not labelled.any():
        return {}
    return {"accuracy": float((logits.argmax(-1) == prediction.label_ids)[labelled].mean())}


def load_classifier(path: str) -> PreTrainedModel:
    """The model at a path or Hub id, by the architecture its config names."""
    architecture = (AutoConfig.from_pretrained(path).architectures or ["unknown"])[0]
    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        raise ConfigError(
            f"{path!r} names the architecture {architecture!r}, unknown to transformers. Pass the model itself."
        )
    return model_class.from_pretrained(path)

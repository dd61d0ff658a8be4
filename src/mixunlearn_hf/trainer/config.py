"""Settings of the trainers. Every default names its source in `docs/paper_index.md`."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..errors import ConfigError

LABEL_MODES = ("auto", "labels", "agnostic")
GENERATORS = ("adversarial", "cooperative", "frozen", "mixup")


PASSES, LEAST_STEPS = 3, 48  # where the settings leave the number of passes open


@dataclass
class UnlearningConfig(TrainingArguments):
    """Settings that every unlearning method shares, on top of [`~transformers.TrainingArguments`].

    An epoch is one pass over the forget set, and a batch of `per_device_train_batch_size` holds that many pairs of a
    forget and a retain row.

    Args:
        num_train_epochs (`float`): passes over the forget set. At 0, the default, three, or as many as make 48
            optimizer steps; the trainer's own `args` then hold that number.
        label_mode (`str`): where targets come from. `"auto"`: labels for rows that have one, the original model's
            sharpened prediction for the others; `"labels"`: labels, required for every row; `"agnostic"`: labels are
            ignored.
        label_column (`str`): column with the labels; by default `labels` or `label`, or the only `ClassLabel` column.
        sharpen_temperature (`float`): temperature of Sharpen, eq. 4; 1 leaves predictions as they are.
        allow_shared_rows (`bool`): accept rows that stand in both the forget and the retain set.
        overwrite_output_dir (`bool`): train although `output_dir` already holds a run.
    """

    learning_rate: float = field(default=3e-4, metadata={"help": "Learning rate of the unlearner."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Pairs in a batch on each device."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Rows in an evaluation batch."})
    num_train_epochs: float = field(
        default=0.0,
        metadata={"help": f"Passes over the forget set; 0: {PASSES}, or as many as make {LEAST_STEPS} steps."},
    )
    logging_steps: float = field(default=10, metadata={"help": "Log the terms of the objective every so many steps."})
    label_mode: str = field(
        default="auto",
        metadata={"help": "Targets from labels where there are any (auto), always (labels), never (agnostic)."},
    )
    label_column: str | None = field(
        default=None, metadata={"help": "Column with the labels; found by itself if usual."}
    )
    sharpen_temperature: float = field(
        default=0.3, metadata={"help": "Temperature of Sharpen on the original's predictions."}
    )
    allow_shared_rows: bool = field(
        default=False, metadata={"help": "Accept rows in both the forget and the retain set."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Train although output_dir already holds a run."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("label_mode", self.label_mode, LABEL_MODES)
        positive("sharpen_temperature", self.sharpen_temperature)
        if not 0 <= self.num_train_epochs < float("inf"):
            raise ConfigError(
                f"`num_train_epochs` must be a finite number, or 0 to leave it open, got {self.num_train_epochs}."
            )
        positive("per_device_train_batch_size", self.per_device_train_batch_size)
        positive("per_device_eval_batch_size", self.per_device_eval_batch_size)
        positive("gradient_accumulation_steps", self.gradient_accumulation_steps)


@dataclass
class MixUnlearnConfig(UnlearningConfig):
    """Settings of [`MixUnlearnTrainer`].

    Args:
        mix_weight (`float`): weight of `L_mix`; 0 leaves mixing out ("without L_mix" of the paper's ablation).
        real_weight (`float`): weight omega of `L_real`; 0 leaves it out ("without L_real").
        generator (`str`): how the mask is made. `"adversarial"`: MixBlock, trained against the unlearner (the method);
            `"cooperative"`: MixBlock, trained to help it; `"frozen"`: MixBlock with its random initial weights;
            `"mixup"`: no MixBlock, the mask is `lam` everywhere (fixed mixup).
        generator_interval (`int`): MixBlock is updated at every so many steps.
        generator_learning_rate (`float`): learning rate of MixBlock (Adam).
        alpha (`float`): `lam ~ Beta(alpha, alpha)`, one draw a step.
        generator_temperature, mix_temperature, real_temperature (`float`): `tau_gen`, `tau_mix`, `tau_real`. The last
            two follow from the request where left out: 1, or 5 where rows of classes that stay are to be forgotten and
            no `holdout_dataset` says how far.
        mix_at (`str`): `"embeddings"`, or `"pixels"` for the paper's own setting on images.
        feature_layer (`str`): layer of the original model that MixBlock looks at: its number (`"3"`, `"-1"` for the
            last) or its name in `model.named_modules()`. By default the last of the first half (`docs/models.md`).
        batch_norm (`str`): which rows move the running statistics of batch norm layers: `"retain"`, `"all"` or
            `"frozen"`.
    """

    mix_weight: float = field(default=0.2, metadata={"help": "Weight of L_mix; 0 leaves it out."})
    real_weight: float = field(default=1.0, metadata={"help": "Weight of L_real; 0 leaves it out."})
    generator: str = field(default="adversarial", metadata={"help": f"How the mask is made: {', '.join(GENERATORS)}."})
    generator_interval: int = field(default=4, metadata={"help": "Update MixBlock at every so many steps."})
    generator_learning_rate: float = field(default=1e-3, metadata={"help": "Learning rate of MixBlock."})
    alpha: float = field(default=0.75, metadata={"help": "lam is drawn from Beta(alpha, alpha)."})
    generator_temperature: float = field(default=1.0, metadata={"help": "tau_gen, on the forget term of L_gen."})
    mix_temperature: float | None = field(default=None, metadata={"help": "tau_mix, on the forget term of L_mix."})
    real_temperature: float | None = field(default=None, metadata={"help": "tau_real, on the forget term of L_real."})
    mix_at: str = field(default="embeddings", metadata={"help": "Mix at embeddings or at pixels."})
    feature_layer: str | None = field(
        default=None, metadata={"help": "Layer MixBlock's features come from: a number or a module's name."}
    )
    batch_norm: str = field(
        default="retain", metadata={"help": "Rows that move batch norm's running statistics: retain, all or frozen."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("generator", self.generator, GENERATORS)
        one_of("mix_at", self.mix_at, ("embeddings", "pixels"))
        one_of("batch_norm", self.batch_norm, ("retain", "all", "frozen"))
        for name in ("alpha", "generator_learning_rate", "generator_temperature"):
            positive(name, getattr(self, name))
        for name in ("mix_temperature", "real_temperature"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        positive("generator_interval", self.generator_interval)
        checkpointing = self.gradient_checkpointing_kwargs  # either name of the setting fills this one
        if isinstance(checkpointing, dict) and checkpointing.get("use_reentrant"):
            raise ConfigError(
                "MixBlock's gradients are asked for by name, which reentrant checkpointing does not allow. Leave "
                "`use_reentrant` out."
            )
        for name in ("mix_weight", "real_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"`{name}` must be 0 or more, got {getattr(self, name)}.")
        if self.mix_weight == 0 and self.real_weight == 0:
            raise ConfigError(
                "`mix_weight` and `real_weight` are both 0: there is no objective left. Set one of them."
            )


def positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"`{name}` must be a finite number above 0, got {value}.")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}.")

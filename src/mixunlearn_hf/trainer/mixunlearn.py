"""Adversarial Mixup Unlearning: the unlearner phase and the generator phase."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..families import EmbeddingSite, MixingSite, PixelSite, extract_features, family_of
from ..mixblock import mix
from ..objectives import cosine_distance, generator_loss, mix_loss, real_loss
from .base import UnlearningTrainer
from .config import MixUnlearnConfig
from .generator import Generator

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class _Pairs:
    """A batch of pairs; row `i` of every tensor belongs to pair `i`."""

    forget: Inputs
    retain: Inputs
    forget_target: Tensor  # (B, classes)
    retain_target: Tensor
    forget_features: Tensor | None = None  # (B, C, *positions), None without MixBlock
    retain_features: Tensor | None = None
    forget_embeddings: Tensor | None = None  # known after the unlearner's forward
    retain_embeddings: Tensor | None = None

    def with_partners(self, order: Tensor) -> "_Pairs":
        """Another retain row of the batch for each forget row; all that belongs to a row travels with it."""
        order = order.to(self.retain_target.device)
        moved = {
            name: None if value is None else value[order]
            for name, value in vars(self).items()
            if name.startswith("retain_")
        }
        return replace(self, retain={name: value[order] for name, value in self.retain.items()}, **moved)


class MixUnlearnTrainer(UnlearningTrainer):
    r"""Adversarial Mixup Unlearning (Peng, Tang, Yang, ICLR 2025, arXiv 2502.10288).

    Every training step

    1. draws `lam ~ Beta(alpha, alpha)` and new partners within the batch;
    2. asks MixBlock for the mask of every pair, from features of the original model;
    3. passes forget, retain and mixed rows through the unlearner, the mixed ones mixed where the model embeds its
       input;
    4. updates the unlearner by `mix_weight * L_mix + real_weight * L_real` (eqs. 5 to 7);
    5. every `generator_interval`-th time updates MixBlock by `L_gen` (eq. 3), with a `lam` of its own, against the
          unlearner
       as it was before this step's update. Only MixBlock moves; the unlearner's batch norm statistics do not either.

    Arguments as in [`UnlearningTrainer`], with `args` a [`MixUnlearnConfig`].

    Attributes:
        generator (`Generator` or `None`): MixBlock and its optimizer; saved in checkpoints, not with the model.
    """

    _tag_names: ClassVar[list[str]] = ["unlearning", "mixunlearn"]
    config_class: ClassVar[type[MixUnlearnConfig]] = MixUnlearnConfig
    args: MixUnlearnConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.args.mix_at == "pixels" and self._main_input != "pixel_values":
            raise ConfigError(f'`mix_at="pixels"` needs a model of images, this one takes `{self._main_input}`.')
        self._family = family_of(self.model)
        self._site: MixingSite = (
            PixelSite() if self.args.mix_at == "pixels" else EmbeddingSite(self._family, self.model)
        )
        self._separate_forwards = self.args.batch_norm.startswith("retain") and _has_batch_norm(self.model)
        self._pairs: _Pairs | None = None  # of the current step, for the generator phase
        self.generator: Generator | None = None
        if self.args.generator != "mixup" and self.args.mix_weight > 0:
            features = extract_features(self._family, self.original_model, self._first_pair()["forget"])
            self.generator = Generator(features.shape[1], self.args.generator_learning_rate, self.args.device)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Both phases start from one state of unlearner and generator, as in the published code."""
        loss = super().training_step(model, inputs, num_items_in_batch)  # backward; the Trainer steps later
        if self._generator_is_due():
            self._generator_phase()
        self._pairs = None
        return loss

    # ---- the unlearner phase ----

    def unlearning_loss(self, model: nn.Module, forget: Inputs, retain: Inputs) -> Tensor:
        """`mix_weight * L_mix + real_weight * L_real` (eq. 7)."""
        args, rng = self.args, self._rng(phase=0)
        lam, order = rng.beta(args.alpha, args.alpha), torch.as_tensor(rng.permutation(len(forget["target"])))
        pairs = self._observe(forget, retain)
        forget_output, retain_output, mixed_output = self._forward(model, pairs, order, lam)
        terms = {}
        if args.mix_weight > 0:
            partners = pairs.with_partners(order)
            terms["mix_loss"] = mix_loss(
                mixed_output, partners.forget_target, partners.retain_target, lam, args.mix_temperature
            )
        if args.real_weight > 0:
            terms["real_loss"] = real_loss(
                forget_output, retain_output, pairs.forget_target, pairs.retain_target, args.real_temperature
            )
        self.record(
            **terms,
            forget_distance=cosine_distance(forget_output, pairs.forget_target).mean(),
            retain_distance=cosine_distance(retain_output, pairs.retain_target).mean(),
        )
        weights = {"mix_loss": args.mix_weight, "real_loss": args.real_weight}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def _observe(self, forget: Inputs, retain: Inputs) -> _Pairs:
        """The batch with its targets apart, and what the original model sees in it."""
        pairs = _Pairs(forget, retain, forget.pop("target"), retain.pop("target"))
        if self.generator is None:
            return pairs
        with self.accelerator.autocast():
            features = extract_features(self._family, self.original_model, _join(forget, retain))
        forget_features, retain_features = features.split(len(pairs.forget_target))
        return replace(pairs, forget_features=forget_features, retain_features=retain_features)

    def _forward(self, model: nn.Module, pairs: _Pairs, order: Tensor, lam: float) -> tuple[Tensor, ...]:
        """Probabilities `(B, classes)` on forget, retain and mixed rows (the latter empty without L_mix).

        In one forward, or, where the statistics of batch norm shall follow the retain rows alone, in one for them and
        one with frozen statistics for the others.
        """
        size = len(pairs.forget_target)
        others = [pairs.forget]
        if self.args.mix_weight > 0:
            partners = pairs.with_partners(order)
            others.append(self._family.mixed_inputs(partners.forget, partners.retain))
        retain_embeddings: list[Tensor] = []

        def keep(embeddings: Tensor) -> Tensor:
            retain_embeddings.append(embeddings)
            return embeddings

        def add_mixed(embeddings: Tensor) -> Tensor:  # rows: forget, placeholders for the mixed
            if len(others) == 1:
                return embeddings
            forget = embeddings[:size]
            self._pairs = replace(
                pairs, forget_embeddings=forget.detach(), retain_embeddings=retain_embeddings[0].detach()
            )
            known = replace(pairs, forget_embeddings=forget, retain_embeddings=retain_embeddings[0])
            mask = self._mask(known.with_partners(order), lam).detach()
            self.record(mask_mean=mask.mean())
            return torch.cat([forget, self._mix(known.with_partners(order), mask)])

        def add_mixed_to_all(embeddings: Tensor) -> Tensor:  # rows: retain first
            return torch.cat([keep(embeddings[:size]), add_mixed(embeddings[size:])])

        if self._separate_forwards:
            retain_logits = self._site.run(model, pairs.retain, keep)
            with frozen_batch_norm(model):
                logits = torch.cat([retain_logits, self._site.run(model, _join(*others), add_mixed)])
        elif self.args.batch_norm == "frozen":
            with frozen_batch_norm(model):
                logits = self._site.run(model, _join(pairs.retain, *others), add_mixed_to_all)
        else:
            logits = self._site.run(model, _join(pairs.retain, *others), add_mixed_to_all)
        probabilities = logits.float().softmax(-1)
        return probabilities[size : 2 * size], probabilities[:size], probabilities[2 * size :]

    # ---- the generator phase ----

    def _generator_is_due(self) -> bool:
        trained = self.generator is not None and self.args.generator in ("adversarial", "cooperative")
        return trained and self.state.global_step % self.args.generator_interval == 0

    def _generator_phase(self) -> None:
        """Update MixBlock by `L_gen` (eq. 3) against the unlearner as it is, at the end of an accumulation window."""
        assert self.generator is not None and self._pairs is not None
        pairs, args, model = self._pairs, self.args, self.model
        lam = self._rng(phase=1).beta(args.alpha, args.alpha)
        inputs = self._family.mixed_inputs(pairs.forget, pairs.retain)
        model.eval()  # neither dropout nor batch norm statistics have a part in this
        with self.accelerator.autocast():
            logits = self._site.run(model, inputs, lambda _: self._mix(pairs, self._mask(pairs, lam)))
        model.train()
        loss = generator_loss(
            logits.float().softmax(-1), pairs.forget_target, pairs.retain_target, lam, args.generator_temperature
        )
        self.record(generator_loss=loss)
        sign = 1 if args.generator == "adversarial" else -1
        self.generator.accumulate(sign * loss / self.current_gradient_accumulation_steps)
        if self.accelerator.sync_gradients:
            self.generator.step(self.accelerator)

    # ---- mixing ----

    def _mask(self, pairs: _Pairs, lam: float) -> Tensor:
        """Weight of the forget sample at every position of the embedding, `(B, *positions)` (eq. 2)."""
        embeddings = pairs.forget_embeddings
        size = self._site.positions(embeddings)
        forget_present, retain_present = self._family.present(pairs.forget), self._family.present(pairs.retain)
        both = None if forget_present is None or retain_present is None else forget_present & retain_present
        if self.generator is None:
            mask = torch.full((len(embeddings), *size), lam, device=embeddings.device)
        else:
            mask = self.generator.mixblock(pairs.forget_features, pairs.retain_features, lam, size, both)
        # where only one of the two samples has content its weight is 1
        return mask if both is None else torch.where(both, mask, forget_present.to(mask.dtype))

    def _mix(self, pairs: _Pairs, mask: Tensor) -> Tensor:
        return mix(pairs.forget_embeddings, pairs.retain_embeddings, mask, self._site.channel_dim)

    def _rng(self, phase: int) -> np.random.Generator:
        """Randomness of one optimizer step: the same for its micro-batches, in every process and after a resume."""
        return np.random.default_rng([self.args.seed, phase, self.state.global_step])

    # ---- checkpoints ----

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.generator is not None and self.args.should_save:
            self.generator.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.generator is not None and checkpoint is not None:
            self.generator.load(checkpoint, self.args.device)


_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BATCH_NORM) for module in model.modules())


@contextmanager
def frozen_batch_norm(model: nn.Module) -> Iterator[None]:
    """Inside, batch norm layers use their running statistics and leave them as they are."""
    layers = [module for module in model.modules() if isinstance(module, _BATCH_NORM) and module.training]
    for layer in layers:
        layer.eval()  # requires_grad_(False) would not stop the statistics
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


def _join(*parts: Inputs) -> Inputs:
    """Several batches as one; all of them hold the same inputs."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

"""Adversarial Mixup Unlearning: the unlearner phase and the generator phase."""

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from ..classifier import evaluating
from ..errors import ConfigError, UnlearningError, UnsupportedModelError
from ..families import EmbeddingSite, FeatureLayer, MixingSite, PixelSite, check_mixing, extract_features, family_of
from ..mixblock import mix
from ..objectives import cosine_distance, generator_loss, mix_loss, real_loss
from .base import UnlearningTrainer
from .batch_norm import frozen_batch_norm, has_batch_norm, untracked_batch_norm
from .checks import refused_batch
from .config import MixUnlearnConfig
from .generator import Generator

logger = logging.get_logger(__name__)

TRIED = 8  # pairs by which it is checked, if need be, that the model is mixed where its family says

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class _Pairs:
    """A batch of pairs: row `i` of every tensor belongs to pair `i`."""

    forget: Inputs
    retain: Inputs
    forget_target: Tensor  # (B, classes)
    retain_target: Tensor
    floor: Tensor  # (B,), the distance a forget row is pushed to
    forget_features: Tensor  # (B, C, *positions); no channels without MixBlock
    retain_features: Tensor

    def __len__(self) -> int:
        return len(self.forget_target)

    def with_partners(self, order: Tensor) -> "_Pairs":
        """Another retain row of the batch for each forget row; all that belongs to a row travels with it."""
        return replace(
            self,
            retain={name: value[order] for name, value in self.retain.items()},
            retain_target=self.retain_target[order],
            retain_features=self.retain_features[order],
        )

    def host(self, lam: float) -> Inputs:
        """Inputs of the mixed rows, whose embedding is replaced: those of the sample that weighs more.

        Its length, padding and position of the last token are theirs.
        """
        return self.forget if lam >= 0.5 else self.retain

    def mixed_floor(self) -> Tensor:
        """The floor of mixed rows: 0 in pairs of one class, else pulled to and pushed from the same target."""
        same = self.forget_target.argmax(-1) == self.retain_target.argmax(-1)
        return self.floor.masked_fill(same, 0.0)


class MixUnlearnTrainer(UnlearningTrainer):
    r"""Adversarial Mixup Unlearning (Peng, Tang, Yang, ICLR 2025, arXiv 2502.10288).

    Every training step

    1. draws `lam ~ Beta(alpha, alpha)` and new partners within the batch;
    2. asks MixBlock for the mask of every pair, from features of the original model;
    3. passes forget, retain and mixed rows through the unlearner, the mixed ones mixed where the model embeds its
       input;
    4. updates the unlearner by `mix_weight * L_mix + real_weight * L_real` (eqs. 5 to 7);
    5. every `generator_interval`-th time updates MixBlock by `L_gen` (eq. 3), with a `lam` of its own, against the
       unlearner as it was before this step's update. Only MixBlock moves, not even the unlearner's batch norm
       statistics.

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
        batch_norm = has_batch_norm(self.model)
        if batch_norm and self.args.gradient_checkpointing:
            raise ConfigError(
                "Activation checkpointing computes layers a second time in the backward pass, where other rows have a "
                "say in batch norm than in the forward, and this model has batch norm. Train it without."
            )
        self._family = family_of(self.model)
        self._layer = FeatureLayer.find(self._family, self.original_model, self.args.feature_layer)
        self._retain_alone = self.args.batch_norm == "retain" and batch_norm
        self._last: tuple[_Pairs, Tensor, Tensor] | None = None  # pairs, their forget and their retain embeddings
        self.generator: Generator | None = None
        first = self._first_pair()
        self._site: MixingSite = PixelSite() if self.args.mix_at == "pixels" else self._embedding_site()
        if self.args.generator != "mixup" and self.args.mix_weight > 0:
            features = extract_features(self._family, self.original_model, first["forget"], self._layer)
            self.generator = Generator(features.shape[1], self.args.generator_learning_rate, self.args.device)
        self._try_mask(first)

    def _embedding_site(self) -> EmbeddingSite:
        """Where the model embeds its input, tried on the first rows that can tell whether that is so."""
        site = EmbeddingSite(self._family, self.model)
        try:
            for number in range(min(TRIED, len(self.train_dataset), len(self.train_dataset.retain))):
                pair = self._first_pair(number)
                if check_mixing(self._family, site, self.model, pair["forget"], pair["retain"]):
                    return site
        except UnlearningError:
            site.remove()
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            site.remove()
            raise refused_batch(self.model, pair["forget"], self._main_input, error) from error
        logger.warning("The model tells the first rows hardly apart, so it could not be checked that they are mixed.")
        return site

    @torch.no_grad()
    def _try_mask(self, first: dict[str, Inputs]) -> None:
        """Refuse what cannot be mixed position by position, by making the mask of the first pair."""
        embeddings: list[Tensor] = []

        def keep(embedding: Tensor) -> Tensor:
            embeddings.append(embedding)
            return embedding

        with evaluating(self.model):
            self._site.run(self.model, first["forget"], keep)
        target = torch.zeros(1, self.num_labels, device=self.args.device)
        pairs = self._pair({**first["forget"], "target": target}, {**first["retain"], "target": target})
        self._mask(pairs, embeddings[0], 0.5)

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        if self.generator is not None:
            self.generator.optimizer.zero_grad()  # of an accumulation window that was interrupted
        self._last = None
        return super().train(*args, **kwargs)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Both phases start from one state of unlearner and generator, as in the published code."""
        loss = super().training_step(model, inputs, num_items_in_batch)  # backward; the Trainer steps later
        trained = self.args.generator in ("adversarial", "cooperative")
        if trained and self._last is not None and self.state.global_step % self.args.generator_interval == 0:
            self._generator_phase(*self._last)
        self._last = None
        return loss

    # ---- the unlearner phase ----

    def unlearning_loss(self, model: nn.Module, forget: Inputs, retain: Inputs) -> Tensor:
        """`mix_weight * L_mix + real_weight * L_real` (eq. 7).

        Where forget rows fill a batch by being repeated (`filled.py`), each is pushed and mixed with the weight of one
        row of a full batch: copies are not more to forget.
        """
        args, rng, repeats = self.args, self._rng(phase=0), self.sampler.repeats
        pairs = self._pair(forget, retain)
        lam = rng.beta(args.alpha, args.alpha)
        order = torch.as_tensor(rng.permutation(len(pairs)), device=pairs.retain_target.device)
        partners = pairs.with_partners(order)
        retain_output, forget_output, mixed_output = self._forward(model, pairs, partners, order, lam)
        objective = torch.zeros((), device=retain_output.device)
        if args.mix_weight > 0:
            loss = mix_loss(
                mixed_output,
                partners.forget_target,
                partners.retain_target,
                lam,
                args.mix_temperature or self.temperature,
                partners.mixed_floor(),
            )
            self.record(mix_loss=loss)
            objective = objective + args.mix_weight / repeats * loss
        if args.real_weight > 0:
            loss = real_loss(
                forget_output,
                retain_output,
                pairs.forget_target,
                pairs.retain_target,
                (args.real_temperature or self.temperature) * repeats,  # divides the push, and nothing else
                pairs.floor,
            )
            self.record(real_loss=loss)
            objective = objective + args.real_weight * loss
        self.record(
            forget_distance=cosine_distance(forget_output, pairs.forget_target).mean(),
            retain_distance=cosine_distance(retain_output, pairs.retain_target).mean(),
        )
        return objective

    def _pair(self, forget: Inputs, retain: Inputs) -> _Pairs:
        """The batch with its targets apart, and what the original model sees in it."""
        forget_target, retain_target = forget.pop("target"), retain.pop("target")
        floor = forget.pop("floor", torch.full_like(forget_target[:, 0], math.inf))
        if self.generator is None:
            features = forget_target.new_zeros(2 * len(forget_target), 0)
        else:
            with self.accelerator.autocast():
                features = extract_features(self._family, self.original_model, _join(forget, retain), self._layer)
        return _Pairs(forget, retain, forget_target, retain_target, floor, *features.split(len(forget_target)))

    def _forward(self, model: nn.Module, pairs: _Pairs, partners: _Pairs, order: Tensor, lam: float) -> list[Tensor]:
        """Probabilities `(B, classes)` on retain, forget and mixed rows; nothing is mixed without L_mix.

        In one forward, or in two where the statistics of batch norm shall follow the retain rows alone.
        """
        size, mixes = len(pairs), self.args.mix_weight > 0
        others = [pairs.forget] + [partners.host(lam)] * mixes
        retain_embeddings: list[Tensor] = []

        def keep(embeddings: Tensor) -> Tensor:  # retain rows
            retain_embeddings.append(embeddings)
            return embeddings

        def add_mixed(embeddings: Tensor) -> Tensor:  # forget rows, then a place for each mixed row
            if not mixes:
                return embeddings
            forget, retain = embeddings[:size], retain_embeddings[0]
            self._last = pairs, forget.detach(), retain.detach()
            with torch.no_grad():
                mask = self._mask(partners, forget, lam)
            self.record(mask_mean=mask.mean())
            return torch.cat([forget, mix(forget, retain[order], mask, self._site.channel_dim)])

        def add_mixed_to_all(embeddings: Tensor) -> Tensor:
            return torch.cat([keep(embeddings[:size]), add_mixed(embeddings[size:])])

        # a batch of one row has no statistics to normalise by
        frozen = self.args.batch_norm == "frozen" or size == 1
        with frozen_batch_norm(model) if frozen else nullcontext():
            if self._retain_alone:
                logits = [self._site.run(model, pairs.retain, keep)]
                with untracked_batch_norm(model):
                    logits += [self._site.run(model, _join(*others), add_mixed)]
            else:
                logits = [self._site.run(model, _join(pairs.retain, *others), add_mixed_to_all)]
        probabilities = torch.cat(logits).float().softmax(-1)
        return [probabilities[:size], probabilities[size : 2 * size], probabilities[2 * size :]]

    # ---- the generator phase ----

    def _generator_phase(self, pairs: _Pairs, forget_embeddings: Tensor, retain_embeddings: Tensor) -> None:
        """Update MixBlock by `L_gen` (eq. 3) against the unlearner as it is, at the end of an accumulation window."""
        assert self.generator is not None
        args, lam = self.args, self._rng(phase=1).beta(self.args.alpha, self.args.alpha)

        def mixed(_: Tensor) -> Tensor:
            mask = self._mask(pairs, forget_embeddings, lam)
            return mix(forget_embeddings, retain_embeddings, mask, self._site.channel_dim)

        self.model.eval()  # neither dropout nor the batch's statistics have a part in this
        with self.accelerator.autocast():
            logits = self._site.run(self.model, pairs.host(lam), mixed)
        loss = generator_loss(
            logits.float().softmax(-1), pairs.forget_target, pairs.retain_target, lam, args.generator_temperature
        )
        self.record(generator_loss=loss)
        sign = 1 if args.generator == "adversarial" else -1
        self.generator.accumulate(sign * loss / self.current_gradient_accumulation_steps)
        self.model.train()  # not before: layers under checkpointing are computed again here
        if self.accelerator.sync_gradients:
            self.generator.step(self.accelerator)

    def _mask(self, pairs: _Pairs, embeddings: Tensor, lam: float) -> Tensor:
        """Weight of the forget sample at every position of the embeddings, `(B, *positions)` (eq. 2).

        Where one of the two has no content, the sample that weighs more is alone: 1 or 0.
        """
        size = self._site.positions(embeddings)
        forget_present, retain_present = self._family.present(pairs.forget), self._family.present(pairs.retain)
        both = None if forget_present is None or retain_present is None else forget_present & retain_present
        if both is not None and tuple(both.shape[1:]) != size:
            raise UnsupportedModelError(
                f"Rows have {tuple(both.shape[1:])} positions, and the model embeds {size}: it pads them inside, and "
                "nothing says which of those hold content. Pad them before."
            )
        positions = tuple(pairs.forget_features.shape[2:])
        if self.generator is not None and (len(positions) != len(size) or both is not None and positions != size):
            raise ConfigError(
                f"The features that MixBlock looks at have the positions {positions}, and what it has to mix {size}: "
                f"as many dimensions are needed. Choose another `feature_layer` or `mix_at`, or let `features` of "
                f"{type(self._family).__name__} give features of this form."
            )
        if self.generator is None:
            mask = torch.full((len(embeddings), *size), lam, device=embeddings.device)
        else:
            mask = self.generator.mixblock(pairs.forget_features, pairs.retain_features, lam, size, both)
        return mask if both is None else mask.masked_fill(~both, float(lam >= 0.5))

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
            self.generator.load(checkpoint)


def _join(*parts: Inputs) -> Inputs:
    """Several batches as one; all of them hold the same inputs."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

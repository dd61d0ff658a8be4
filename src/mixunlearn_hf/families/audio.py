"""Audio: frames or patches of the sound are mixed."""

import torch
from torch import Tensor

from .base import SequenceFamily
from .registry import register_family
from .vision_transformers import PatchFamily


@register_family
class WaveformFamily(SequenceFamily):
    """Models that read waveforms by convolutions: the projected frames are mixed."""

    model_types = ("wav2vec2", "hubert")
    embedding_paths = ("feature_projection",)

    def present(self, inputs: dict[str, Tensor]) -> Tensor | None:
        mask = inputs.get("attention_mask")  # (B, samples), padded on the right
        if mask is None:
            return None
        frames = torch.arange(int(self._frames(torch.tensor(mask.shape[1]))), device=mask.device)
        return frames < self._frames(mask.sum(-1))[:, None]

    def _frames(self, samples: Tensor) -> Tensor:
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


@register_family
class SpectrogramPatchFamily(PatchFamily):
    """AST: patches of a spectrogram, in rows of one frequency."""

    model_types = ("audio-spectrogram-transformer",)
    num_prefix_tokens = 2  # the class token and the distillation token

    def patch_grid(self) -> tuple[int, int]:
        config = self.config
        return (
            (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1,
            (config.max_length - config.patch_size) // config.time_stride + 1,
        )


@register_family
class WhisperFamily(SequenceFamily):
    """Whisper's encoder: the frames of its second convolution, `(B, C, L)`, are mixed."""

    model_types = ("whisper",)
    channel_dim = 1
    embedding_paths = ("encoder.conv2",)

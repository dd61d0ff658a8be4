"""Text: token embeddings are mixed, padded positions have no say."""

from typing import ClassVar

from torch import Tensor, nn

from .base import SequenceFamily
from .registry import register_family, try_family


@register_family
class TokenFamily(SequenceFamily):
    """Encoders and decoders that look up their tokens once."""

    model_types: ClassVar[tuple[str, ...]] = (
        *("bert", "distilbert", "roberta", "xlm-roberta", "electra", "mpnet", "deberta", "deberta-v2", "modernbert"),
        *("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"),
    )
    layer_paths: ClassVar[tuple[str, ...]] = (
        *("encoder.layer", "transformer.layer", "layers", "h", "encoder.layers", "decoder.layers"),
    )

    def embedding_module(self, model: nn.Module) -> nn.Module:
        return model.get_input_embeddings()  # type: ignore[operator]

    def present(self, inputs: dict[str, Tensor]) -> Tensor | None:
        mask = inputs.get("attention_mask")
        return None if mask is None else mask.bool()


try_family("input_ids", TokenFamily)


@register_family
class AlbertFamily(TokenFamily):
    """Layers share their weights: a few groups run again and again."""

    model_types = ("albert",)
    layer_paths = ("encoder.albert_layer_groups",)

    def layers(self, model: nn.Module) -> list[nn.Module]:
        groups, count = super().layers(model), self.config.num_hidden_layers
        return [groups[layer * len(groups) // count] for layer in range(count)]

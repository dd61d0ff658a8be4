"""BERT and DistilBERT: word embeddings are mixed, features come from the layer in the middle."""

from torch import nn

from .base import TokenFamily, middle, submodule
from .registry import register_family


@register_family
class BertFamily(TokenFamily):
    model_types = ("bert", "distilbert")

    def feature_module(self, model: nn.Module) -> nn.Module:
        return middle(submodule(model, "bert.encoder.layer", "distilbert.transformer.layer"))

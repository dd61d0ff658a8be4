"""Convolutional networks: the output of the stem is mixed, features come from the stages."""

from .base import Family
from .registry import register_family


@register_family
class ConvolutionalFamily(Family):
    model_types = ("resnet", "regnet", "convnext", "convnextv2", "mobilenet_v2", "efficientnet")
    embedding_paths = ("embedder", "embeddings", "conv_stem")
    layer_paths = ("encoder.stages", "encoder.blocks", "layer")

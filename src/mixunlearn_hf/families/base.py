"""What a family has to say about its models."""

from typing import Any, ClassVar

from torch import Tensor, nn

from ..errors import UnsupportedModelError


class Family:
    """Where the models of a family embed their input, and where the features for MixBlock come from.

    What is inherited serves models whose embeddings and features are maps `(B, C, H, W)`. A family of your own names
    `embedding_module`, `layers` and, unless its features are maps, `features`; register it with [`register_family`].

    Attributes:
        config: the model's config, `None` where it has none.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    """Values of `config.model_type` the family serves."""
    model_classes: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Classes the family serves; they go before `model_types`."""
    channel_dim: ClassVar[int] = 1
    """Channel dimension of the embedding: 1 for `(B, C, ...)`, -1 for `(B, ..., C)`."""
    embedding_ndim: ClassVar[int] = 4
    """Dimensions of the embedding, with batch and channels."""
    embedding_paths: ClassVar[tuple[str, ...]] = ()
    """Where the embedding module is; of several paths, the first that the model has counts."""
    layer_paths: ClassVar[tuple[str, ...]] = ()
    """Where the list of layers is."""

    def __init__(self, model: nn.Module) -> None:
        self.config: Any = getattr(model, "config", None)

    def embedding_module(self, model: nn.Module) -> nn.Module:
        """The module whose output is mixed, called once a forward."""
        return submodule(model, *self.embedding_paths)

    def layers(self, model: nn.Module) -> list[nn.Module]:
        """The layers that features can come from, in the order they run; one that runs again stands in it again."""
        return list(submodule(model, *self.layer_paths).children())

    def features(self, output: Tensor) -> Tensor:
        """What a layer gave, as `(B, C, *positions)`; with as many dimensions of positions as the embedding has."""
        return output

    def positions(self, embeddings: Tensor) -> tuple[int, ...]:
        """Shape of an embedding without its batch and channel dimensions."""
        return tuple(embeddings.shape[2:] if self.channel_dim == 1 else embeddings.shape[1:-1])

    def present(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """Positions of the embedding with content, bool of shape `(B, *positions)`; `None` where every one has."""
        return None


class SequenceFamily(Family):
    """Models whose embedding and layers give sequences `(B, L, C)`."""

    channel_dim = -1
    embedding_ndim = 3
    layer_paths: ClassVar[tuple[str, ...]] = ("encoder.layers", "encoder.layer", "layers")

    def features(self, output: Tensor) -> Tensor:
        return output.transpose(1, 2)


def submodule(model: nn.Module, *paths: str) -> nn.Module:
    """The first of several dotted paths that the model has, below its head (they differ between releases)."""
    body = getattr(model, "base_model", model)  # of transformers' classifiers, all but the head
    for path in paths:
        try:
            return body.get_submodule(path)
        except AttributeError:
            continue
    where = f"at none of the paths {list(paths)}" if paths else "nowhere, since the family names neither"
    raise UnsupportedModelError(
        f"The embedding or the layers of {type(model).__name__} are {where}: a family has the methods "
        "`embedding_module` and `layers`, or `embedding_paths` and `layer_paths`."
    )

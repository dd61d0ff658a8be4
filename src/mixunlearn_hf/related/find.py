"""Find rows of other splits that are the same as a forget row, or nearly so."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import datasets
import numpy as np
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.utils import logging

from ..errors import ConfigError, SplitError
from .content import Content, Reader, find_content
from .embeddings import SimilarEmbeddings
from .exact import SameBytes
from .found import METHODS, Matches, RelatedRows
from .near_images import BITS, SimilarImages
from .near_texts import SimilarTexts
from .nearest import Nearest
from .pictures import is_picture

logger = logging.get_logger(__name__)


class Search(Protocol):
    """One way of being the same. Only what it makes of the forget rows stays in memory."""

    batch_size: int

    @property
    def description(self) -> str:
        """What counts as near."""

    def reader(self, dataset: datasets.Dataset, split: str) -> Reader:
        """A function that makes comparable items of the rows at some positions."""

    def remember(self, positions: Sequence[int], items: list[Any]) -> None:
        """Take up forget rows."""

    def match(self, items: list[Any]) -> Nearest:
        """Positions of the nearest forget rows."""


def find_related(
    splits: Mapping[str, datasets.Dataset],
    *,
    methods: Sequence[str] | str | None = None,
    columns: Sequence[str] | str | None = None,
    model: PreTrainedModel | None = None,
    processing_class: Any = None,
    image_threshold: int = 28,  # chosen on CIFAR-10; docs/related.md holds the measurements
    image_correlation: float | None = 0.99,  # chosen on handwritten digits
    text_threshold: float = 0.6,  # chosen on SST-2
    embedding_threshold: float | None = None,
    progress: bool = True,
) -> RelatedRows:
    """Find rows outside the forget set that are the same as a forget row, or nearly so.

    What the model is to forget it can go on learning from a copy in the retain set, and a copy in the test or holdout
    set makes these no measure of what it has forgotten. Every split but `forget` is searched. Labels have no say.

    Args:
        splits (`DatasetDict`): `forget` and at least one other split, such as `retain`, `holdout` and `test`.
        methods (names): `exact` (the same bytes), `near` (images by perceptual hash, texts by MinHash) and `embedding`
            (what `model` sees alike). All that are possible where left out.
        columns (names): columns by which rows are compared. Where left out, the images or sounds, else what a model
            takes (`pixel_values`, `input_ids`), else the only text column.
        model (`PreTrainedModel`), processing_class: for `embedding`; the latter for raw images or text.
        image_threshold (`int`): bits of 256 of the hash that may differ.
        image_correlation (`float` in (0, 1], or `None`): correlation of the pixels from which up to 64 bits may, as
            they do where images are smooth; `None` compares by hashes alone.
        text_threshold (`float` in (0, 1]): Jaccard similarity from which texts are near; 1 finds texts that differ in
            case, punctuation and white space only.
        embedding_threshold (`float` in (-1, 1]): cosine from which rows are near. Where left out, the cosine that
            about one in 1,000 rows of `retain`, or of the first other split, reach to the nearest of as many rows of
            that split as there are forget rows: so many rows are found by chance.
        progress (`bool`): show progress bars.

    Returns:
        [`RelatedRows`]: counts and positions.

    Raises:
        SplitError: there is no `forget` split with rows, or no other split.
        DataError: rows cannot be compared, or one cannot be read; the text names its split and position.
        ConfigError: a threshold lies outside its range, or a method is unknown or lacks its model.

    Example:
        >>> rows = {"forget": ["Ann likes red kites."], "retain": ["Bob plays chess.", "Ann likes red kites!"]}
        >>> splits = {name: datasets.Dataset.from_dict({"text": texts}) for name, texts in rows.items()}
        >>> related = find_related(splits, progress=False)
        >>> related.counts(), related.positions("retain").tolist()
        ({'retain': {'exact': 0, 'near': 1}}, [1])
    """
    _check_splits(splits)
    chosen = _check_methods(methods, model)
    _check_thresholds(image_threshold, image_correlation, text_threshold, embedding_threshold)
    ordered = {"forget": splits["forget"], **{name: part for name, part in splits.items() if name != "forget"}}
    content = find_content(ordered, columns)
    exact = SameBytes(content)
    searches: dict[str, Search] = {}
    not_searched = {name: "it was not asked for" for name in METHODS if name not in chosen}
    if model is None:
        not_searched["embedding"] = "no `model` was passed"
    for method in chosen:
        if method == "exact":
            searches[method] = exact
        elif method == "embedding" and model is not None:
            searches[method] = _by_embedding(content, model, processing_class, embedding_threshold, splits)
        elif reason := _no_near(content, splits["forget"]):
            not_searched[method] = reason
            logger.warning(f"Rows that are nearly the same were not searched for: {reason}.")
        elif content.kind in ("text", "tokens"):
            searches[method] = SimilarTexts(content, text_threshold)
        else:
            searches[method] = SimilarImages(content, image_threshold, image_correlation)

    others = [name for name in ordered if name != "forget"]
    matches: dict[str, dict[str, Matches]] = {name: {} for name in others}
    found = {name: np.zeros(len(splits[name]), dtype=bool) for name in others}
    forget_left_out = {}
    for method, search in searches.items():
        forget_left_out[method] = _remember(search, method, splits["forget"], progress)
        for name in others:
            matches[name][method] = _matches(search, method, splits[name], name, found[name], progress)
            found[name][matches[name][method].positions] = True
    digests = {name: exact.digests(splits[name].select(np.flatnonzero(found[name]))) for name in others}
    return RelatedRows(
        matches,
        {method: search.description for method, search in searches.items()},
        not_searched,
        {name: len(part) for name, part in ordered.items()},
        forget_left_out,
        (exact, digests),
    )


def _check_splits(splits: Any) -> None:
    if not isinstance(splits, Mapping) or not all(isinstance(part, datasets.Dataset) for part in splits.values()):
        raise SplitError(
            f"Expected a `DatasetDict` of `datasets.Dataset`, got {type(splits).__name__}. Build it with "
            "`split_forget_retain`, or pass `{'forget': ..., 'retain': ...}`."
        )
    if "forget" not in splits or len(splits) < 2:
        raise SplitError(
            f"Expected the split 'forget' and at least one other to search, such as 'retain', got {list(splits)}."
        )
    if len(splits["forget"]) == 0:
        raise SplitError("The split 'forget' has no rows: nothing can be related to it.")


def _check_methods(methods: Sequence[str] | str | None, model: PreTrainedModel | None) -> list[str]:
    """The methods to use, in their order."""
    if methods is None:
        chosen = [name for name in METHODS if name != "embedding" or model is not None]
    else:
        asked = [methods] if isinstance(methods, str) else list(methods)
        unknown = [name for name in asked if name not in METHODS]
        if unknown or not asked:
            raise ConfigError(f"`methods` must name some of {list(METHODS)}, got {asked}.")
        chosen = [name for name in METHODS if name in asked]
    if "embedding" in chosen and model is None:
        raise ConfigError("The method 'embedding' compares what a model sees: pass `model=`, or leave the method out.")
    return chosen


def _check_thresholds(
    image_threshold: int, image_correlation: float | None, text_threshold: float, embedding_threshold: float | None
) -> None:
    if not 0 <= image_threshold < BITS // 2:
        raise ConfigError(
            f"`image_threshold` must lie from 0 to {BITS // 2 - 1} bits, got {image_threshold}. Unrelated images "
            "differ in half of the bits."
        )
    if image_correlation is not None and not 0 < image_correlation <= 1:
        raise ConfigError(f"`image_correlation` must lie in (0, 1] or be `None`, got {image_correlation}.")
    if not 0 < text_threshold <= 1:
        raise ConfigError(f"`text_threshold` must lie in (0, 1], got {text_threshold}.")
    if embedding_threshold is not None and not -1 < embedding_threshold <= 1:
        raise ConfigError(f"`embedding_threshold` must lie in (-1, 1], got {embedding_threshold}.")


def _by_embedding(
    content: Content,
    model: PreTrainedModel,
    processing_class: Any,
    threshold: float | None,
    splits: Mapping[str, datasets.Dataset],
) -> SimilarEmbeddings:
    if threshold is not None:
        return SimilarEmbeddings(content, model, processing_class, threshold)
    search = SimilarEmbeddings(content, model, processing_class)
    name = "retain" if "retain" in splits else next(name for name in splits if name != "forget")
    search.calibrate(splits[name], name, len(splits["forget"]))
    return search


def _no_near(content: Content, forget: datasets.Dataset) -> str | None:
    """Why nothing can be found by hashes, if so."""
    if content.kind == "text":
        return None
    names = list(content.columns)
    if content.kind in ("image", "pixels", "tokens") and len(names) > 1:
        return f"{names} are several columns, and it takes one of them in `columns=`"
    if content.kind == "pixels":
        shapes = [np.shape(row[names[0]]) for row in forget.select_columns(names).with_format("numpy").take(100)]
        shape = next((shape for shape in shapes if shape), ())
        if not is_picture(shape):
            return f"arrays of the shape {shape} in {names[0]!r} are no pictures of 1 or 3 channels"
    if content.kind in ("audio", "other"):
        return f"it takes images, texts or token ids, and {names} hold something else"
    return None


def _remember(search: Search, method: str, forget: datasets.Dataset, progress: bool) -> int:
    """Take up all forget rows that have something to compare; the number of those that have not."""
    read, left_out = search.reader(forget, "forget"), 0
    for positions in _batches(len(forget), search.batch_size, f"{method}: forget", progress):
        items = read(positions)
        kept = [place for place, item in enumerate(items) if item is not None]
        left_out += len(items) - len(kept)
        search.remember(positions[kept].tolist(), [items[place] for place in kept])
    return left_out


def _matches(
    search: Search, method: str, dataset: datasets.Dataset, split: str, found: np.ndarray, progress: bool
) -> Matches:
    """What `search` finds among the rows of a split that have not been found before."""
    nothing = np.empty(0, dtype=np.int64)
    rows, forget_rows, distances, near, left_out = [nothing], [nothing], [np.empty(0)], [nothing], 0
    read = search.reader(dataset, split)
    for batch in _batches(len(dataset), search.batch_size, f"{method}: {split}", progress):
        positions = batch[~found[batch]]
        if not len(positions):
            continue
        items = read(positions)
        kept = np.asarray([item is not None for item in items])
        left_out += int((~kept).sum())
        if not kept.any():
            continue
        nearest = search.match([item for item in items if item is not None])
        hits = nearest.index >= 0
        rows.append(positions[kept][hits])
        forget_rows.append(nearest.index[hits])
        distances.append(nearest.distance[hits])
        near.append(nearest.near)
    return Matches(
        np.concatenate(rows),
        np.concatenate(forget_rows),
        np.concatenate(distances),
        np.unique(np.concatenate(near)),
        left_out,
    )


def _batches(rows: int, size: int, title: str, progress: bool) -> Any:
    """Positions of all rows, a batch at a time, with a progress bar."""
    with tqdm(total=rows, desc=title, unit="row", disable=not progress) as bar:
        for start in range(0, rows, size):
            positions = np.arange(start, min(start + size, rows))
            yield positions
            bar.update(len(positions))

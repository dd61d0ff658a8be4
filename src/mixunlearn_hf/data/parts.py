"""The parts a data set was split into, with the record of the request."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from huggingface_hub import HfApi

from ..errors import DataError, SplitError
from ..files import write_text
from .digests import DigestKey, digest_of_all, key_id, load_key, row_digests
from .record import RECORD_NAME, SplitRecord
from .rows import NO_LABEL, find_label_column, is_text, stored_labels
from .selectors import UNNAMED, by_indices, class_names


class ForgetRetainSplits(datasets.DatasetDict):
    """A `DatasetDict` with the splits `forget` and `retain`, perhaps `holdout` and others, and a record.

    It is used, saved and pushed like any other; the record goes along as `split_record.json`. Methods that return a
    new dictionary, such as `map`, return a plain one.

    Attributes:
        record ([`SplitRecord`]): how the request was resolved; no row content.
    """

    record: SplitRecord

    @classmethod
    def of(
        cls,
        parts: Mapping[str, datasets.Dataset],
        selectors: list[dict[str, Any]],
        seed: int | None = None,
        label_column: str | None = None,
        labels: Mapping[str, np.ndarray] | None = None,
    ) -> "ForgetRetainSplits":
        """The parts with the record of how they came about, counted; `labels` that are known are not read again."""
        splits, known = cls(parts), labels or {}
        counted = {name: _count_classes(part, label_column, known.get(name)) for name, part in parts.items()}
        splits.record = SplitRecord(
            selectors=selectors,
            rows={name: len(part) for name, part in parts.items()},
            rows_per_class={name: counts for name, counts in counted.items() if counts},
            seed=seed,
            label_column=label_column,
        )
        return splits

    def digest(self, key: DigestKey | None = None) -> SplitRecord:
        """Compute the keyed digest of each part, which reads all rows, and keep it in the record.

        Args:
            key (`bytes`, or path of a file): the key; that of [`load_key`] where left out.
        """
        loaded = load_key(key)
        digests = {
            name: digest_of_all(row_digests(part, part.column_names, loaded), loaded) for name, part in self.items()
        }
        self.record = replace(self.record, digests=digests, digest_key=key_id(loaded))
        return self.record

    def save_to_disk(self, dataset_dict_path: Any, *args: Any, **kwargs: Any) -> None:
        """As [`~datasets.DatasetDict.save_to_disk`], with the record and its digests beside the splits."""
        record = self._digested()  # first: what cannot be read leaves nothing half saved
        super().save_to_disk(dataset_dict_path, *args, **kwargs)
        write_text(Path(dataset_dict_path, RECORD_NAME), record.to_json())

    @staticmethod
    def load_from_disk(dataset_dict_path: Any, *args: Any, **kwargs: Any) -> "ForgetRetainSplits":
        """As [`~datasets.DatasetDict.load_from_disk`], with the record."""
        splits = ForgetRetainSplits(datasets.DatasetDict.load_from_disk(dataset_dict_path, *args, **kwargs))
        splits.record = SplitRecord.load(dataset_dict_path)
        return splits

    def push_to_hub(self, repo_id: str, *args: Any, **kwargs: Any) -> Any:
        """As [`~datasets.DatasetDict.push_to_hub`], with the record. Mind who can read the forget rows there."""
        record = self._digested()
        pushed = super().push_to_hub(repo_id, *args, **kwargs)
        HfApi(token=kwargs.get("token")).upload_file(
            path_or_fileobj=record.to_json().encode(),
            path_in_repo=RECORD_NAME,
            repo_id=repo_id,
            repo_type="dataset",
            revision=getattr(pushed, "pr_revision", None) or kwargs.get("revision"),
        )
        return pushed

    def _digested(self) -> SplitRecord:
        return self.record if self.record.digests else self.digest()


def move_to_forget(
    splits: Mapping[str, datasets.Dataset], positions: Iterable[int], reason: str = "moved"
) -> ForgetRetainSplits:
    """New splits in which some rows of the retain set are the last of the forget set.

    Args:
        splits: the parts, `forget` and `retain` among them.
        positions: row numbers in the retain set.
        reason (`str`): stands in the record as the selector of these rows.

    Raises:
        SplitError: no position, one outside the retain set, or all of it.
    """
    retain, moved = splits["retain"], by_indices(splits["retain"], positions).mask
    if moved.all():
        raise SplitError("All rows of the retain set would be moved. Nothing would be left: train a new model.")
    parts = dict(splits) | {
        "forget": datasets.concatenate_datasets([splits["forget"], retain.select(np.flatnonzero(moved))]),
        "retain": retain.select(np.flatnonzero(~moved)),
    }
    before = splits.record if isinstance(splits, ForgetRetainSplits) else SplitRecord([], {})
    selectors = [*before.selectors, {"selector": reason, "rows": int(moved.sum())}]
    return ForgetRetainSplits.of(parts, selectors, before.seed, before.label_column)


def numbered_labels(rows: datasets.Dataset, label_column: str | None) -> np.ndarray | None:
    """Class numbers of all rows, where there are any; labels that are text could be anything."""
    if label_column is not None and label_column not in rows.column_names:
        return None
    name = find_label_column(rows, label_column)
    if name is None or is_text(rows.features[name]):
        return None
    try:
        return stored_labels(rows, name)
    except DataError:  # several labels a row, or measurements
        return None


def _count_classes(rows: datasets.Dataset, label_column: str | None, labels: np.ndarray | None) -> dict[str, int]:
    """Rows of each class, by its name if it has one."""
    labels = numbered_labels(rows, label_column) if labels is None else labels
    if labels is None:
        return {}
    names = class_names(rows, str(find_label_column(rows, label_column)))
    found, counts = np.unique(labels, return_counts=True)
    if names is None and found.max(initial=0) >= UNNAMED:
        return {}
    return {
        "none" if label == NO_LABEL else names[label] if names else str(label): int(count)
        for label, count in zip(found.tolist(), counts.tolist(), strict=True)
    }

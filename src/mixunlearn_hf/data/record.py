"""What is kept of a request: how it was resolved and how many rows that is, nothing that a row holds."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SplitError

RECORD_NAME = "split_record.json"


@dataclass(frozen=True)
class SplitRecord:
    """How a data set was split, for the record. It can be shown to anyone.

    Args:
        selectors (`list`): a dictionary a selector, with its kind, what it asked for in counts, and the rows it
            matches by itself. Names of columns and classes stand in it; ids, phrases and rows do not.
        rows (`dict`): rows of each part.
        rows_per_class (`dict`): rows of each class in each part, where the labels are class numbers.
        seed (`int`): of a share.
        label_column (`str`): where the labels stand, if it was named.
        digests (`dict`): keyed digest of each part, over all columns and independent of the order of its rows; empty
            until [`ForgetRetainSplits.digest`] or saving computes them.
        digest_key (`str`): id of the key of `digests`; the key itself is not kept.
    """

    selectors: list[dict[str, Any]]
    rows: dict[str, int]
    rows_per_class: dict[str, dict[str, int]] = field(default_factory=dict)
    seed: int | None = None
    label_column: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    digest_key: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def load(cls, folder: str | Path) -> "SplitRecord":
        """Read the record in a folder of saved splits.

        Raises:
            SplitError: there is none, or it is damaged.
        """
        path = Path(folder, RECORD_NAME)
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise SplitError(f"{str(path)!r} is missing or no record of a split.") from None

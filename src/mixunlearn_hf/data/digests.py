"""Keyed digests of rows: who holds the key can tell whether two rows are the same, nobody else can tell anything.

A plain hash would not do: who guesses a row could hash the guess and see whether it was forgotten.
"""

import datetime
import hmac
import json
import secrets
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import fsspec
import numpy as np
from huggingface_hub import constants

from ..errors import OutputExistsError, SplitError
from ..files import write_text

ALGORITHM = "sha256"  # of the HMAC, RFC 2104
MEDIA = tuple(  # stored as bytes and path
    getattr(datasets, name) for name in ("Audio", "Image", "Mesh", "Nifti", "Pdf", "Video") if hasattr(datasets, name)
)
DigestKey = bytes | str | Path
_FORMAT = "mixunlearn row digests 1"


def load_key(key: DigestKey | None = None) -> bytes:
    """The key itself: `key` if it is one, else what stands in the file `key`.

    Without either, the key of this user, `mixunlearn/digest.key` in the folder `HF_HOME`, made at its first use and
    readable by its owner only. It is what protects the digests: it belongs neither beside them nor on the Hub.

    Raises:
        SplitError: the file is missing or holds fewer than 16 bytes.
    """
    if isinstance(key, bytes):
        found, where = key, "`digest_key`"
    else:
        path = Path(key) if key is not None else Path(constants.HF_HOME, "mixunlearn", "digest.key")
        if key is None and not path.exists():
            try:
                write_text(path, secrets.token_hex(32) + "\n", overwrite=False, mode=0o600)
            except OutputExistsError:  # another process was faster
                pass
        if not path.is_file():
            raise SplitError(  # without the name: who passes the key itself as text would read it in a log
                "The key of the digests is read from a file, and there is no such file. Make one with 16 random bytes "
                "or more, such as `secrets.token_bytes(32)`. A key itself is passed as bytes."
            )
        found, where = path.read_bytes().strip(), repr(str(path))
    if len(found) < 16:
        raise SplitError(f"The key of the digests, {where}, has {len(found)} bytes. It needs 16 or more, at random.")
    return found


def key_id(key: bytes) -> str:
    """A name of the key that does not give it away, to see whether two digests were made with the same."""
    return hmac.digest(key, b"mixunlearn key id", ALGORITHM)[:8].hex()


def row_digests(dataset: datasets.Dataset, columns: Sequence[str], key: bytes) -> list[bytes]:
    """One digest of 32 bytes a row, over the canonical bytes of some of its columns.

    Equal for equal rows, however they are stored: transforms are not run, the order of columns and the names of files
    have no say. Images, audio and video count by their encoded bytes and are not decoded.

    Raises:
        SplitError: a file that a row names cannot be read.
    """
    names = sorted(set(columns))
    return [hmac.digest(key, canonical_bytes(values), ALGORITHM) for values in _rows(dataset, names)]


def digest_of_all(digests: Sequence[bytes], key: bytes) -> str:
    """One digest, as hexadecimal digits, of a set of rows in any order."""
    return hmac.digest(key, b"".join(sorted(digests)), ALGORITHM).hex()


def write_digests(
    dataset: datasets.Dataset, path: str | Path, key: DigestKey | None = None, columns: Sequence[str] | None = None
) -> None:
    """Write a file that names the rows of a data set without holding them, for `split_forget_retain(digests=...)`.

    Args:
        dataset (`datasets.Dataset`): the rows.
        path (`str` or `Path`): the file to write.
        key (`bytes`, or path of a file): see [`load_key`]. Who is to find the rows needs the same.
        columns (`Sequence[str]`): columns that count; all where left out.

    Raises:
        OutputExistsError: the file is there.
        SplitError: there is no such column, or the key cannot be used.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise SplitError(f"Expected a `datasets.Dataset`, got {type(dataset).__name__}. Pass one split of it.")
    named = [columns] if isinstance(columns, str) else columns
    key, columns = load_key(key), sorted(set(dataset.column_names if named is None else named))
    if not columns:
        raise SplitError("`columns` is empty: without any, all rows are the same.")
    require_columns(dataset, columns)
    header = {"format": _FORMAT, "hmac": ALGORITHM, "key": key_id(key), "columns": columns, "rows": len(dataset)}
    lines = [json.dumps(header), *(digest.hex() for digest in row_digests(dataset, columns, key))]
    write_text(path, "\n".join(lines) + "\n", overwrite=False)


def read_digests(path: str | Path, key: bytes) -> tuple[list[str], list[bytes]]:
    """Columns and digests of a file from [`write_digests`].

    Raises:
        SplitError: it is no such file, or was made with another key.
    """
    try:
        first, *lines = Path(path).read_text(encoding="utf-8").splitlines()
        header = json.loads(first)
        if (header["format"], header["hmac"]) != (_FORMAT, ALGORITHM):
            raise ValueError
        made_with, columns = header["key"], list(header["columns"])
        digests = [bytes.fromhex(line) for line in lines]
        if len(digests) != header["rows"] or any(len(digest) != 32 for digest in digests):  # cut short
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise SplitError(
            f"{str(path)!r} cannot be read as a file of row digests. `mixunlearn_hf.write_digests` makes one."
        ) from None
    if made_with != key_id(key):
        raise SplitError(
            f"The digests in {str(path)!r} were made with another key (its id is {made_with}, that of `digest_key` is "
            f"{key_id(key)}): they match no row. Pass the key they were made with as `digest_key`."
        )
    if not digests:
        raise SplitError(f"{str(path)!r} holds no digest: there is nothing to forget.")
    return columns, digests


def require_columns(dataset: datasets.Dataset, columns: Sequence[str]) -> None:
    """Refuse names that are not columns of the data set."""
    unknown = [name for name in columns if name not in dataset.column_names]
    if unknown:
        raise SplitError(f"The data set has no column {unknown[0]!r}; its columns are {dataset.column_names}.")


def _rows(dataset: datasets.Dataset, columns: list[str]) -> Iterator[list[Any]]:
    """The stored values of some columns, row by row."""
    features = [dataset.features[name] if _holds_media(dataset.features[name]) else None for name in columns]
    # `iter` copies a batch of rows that were selected; few of them where rows are large
    batches = dataset.with_format("arrow", columns=columns).iter(batch_size=100 if any(features) else 1000)
    for table in batches:
        for scalars in zip(*(table[name] for name in columns), strict=True):
            values = [scalar.as_py() for scalar in scalars]
            yield [
                value if feature is None else _content(value, feature)
                for value, feature in zip(values, features, strict=True)
            ]


def _holds_media(feature: Any) -> bool:
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return _holds_media(feature.feature)
    return any(map(_holds_media, feature.values())) if isinstance(feature, dict) else isinstance(feature, MEDIA)


def _content(value: Any, feature: Any) -> Any:
    """A value with the encoded bytes of images, sounds and videos in their place, wherever they are."""
    if value is None or not _holds_media(feature):
        return value
    if isinstance(feature, dict):
        return {name: _content(value[name], one) for name, one in feature.items()}
    if not isinstance(feature, MEDIA):
        return [_content(one, feature.feature) for one in value]
    return value["bytes"] if value["bytes"] is not None else _file_content(value["path"])


def _file_content(path: Any) -> bytes:
    try:
        with fsspec.open(path, "rb") as file:
            return file.read()
    except (OSError, TypeError, ValueError, KeyError, AttributeError, ImportError):  # as the file system has it
        raise SplitError("A row names a file that cannot be read. Mend the data set, or remove such rows.") from None


def canonical_bytes(value: Any) -> bytes:
    """Kind, length and content of a value, such that two values share their bytes only if they are equal."""
    if isinstance(value, list):
        kind, content = _canonical_list(value)
    elif value is None:
        kind, content = b"n", b""
    elif isinstance(value, str):
        kind, content = b"s", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        kind, content = b"y", value
    elif isinstance(value, (bool, int)):
        kind, content = b"i", str(int(value)).encode()
    elif isinstance(value, float):
        kind, content = b"f", struct.pack("<d", value)
    elif isinstance(value, dict):
        kind = b"d"
        content = b"".join(canonical_bytes(key) + canonical_bytes(value[key]) for key in sorted(value))
    elif isinstance(value, datetime.timedelta):  # ten hours are not ten o'clock
        kind, content = b"t", str(value).encode()
    else:  # dates, times, decimals
        kind, content = b"o", str(value).encode()
    return kind + len(content).to_bytes(8, "little") + content


def _canonical_list(values: list[Any]) -> tuple[bytes, bytes]:
    """Numbers in a block, as images and token ids come; anything else value by value."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different length
        array = np.empty(0, dtype=object)
    if array.size and array.dtype.kind in "if":
        shape = ",".join(map(str, array.shape)).encode()
        return array.dtype.kind.encode().upper(), shape + b":" + array.astype(f"<{array.dtype.kind}8").tobytes()
    return b"l", b"".join(map(canonical_bytes, values))

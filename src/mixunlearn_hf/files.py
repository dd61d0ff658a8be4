"""Writing files whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .errors import OutputExistsError


def write_text(path: str | Path, text: str, *, overwrite: bool = True, mode: int = 0o644) -> None:
    """Write a file under another name, then give it its own: a reader never sees half of it.

    Args:
        path (`str` or `Path`): the file; its folder is made where it is missing.
        text (`str`): all that shall be in it.
        overwrite (`bool`): replace a file that is there.
        mode (`int`): permissions of the file.

    Raises:
        OutputExistsError: the file is there, and overwriting it was not asked for.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, mode)
        if overwrite:
            os.replace(unfinished, path)
        else:
            os.link(unfinished, path)  # fails where the file is there, also one that another process has just made
    except FileExistsError:
        raise OutputExistsError(f"{str(path)!r} exists already. Choose another name, or remove it first.") from None
    finally:
        Path(unfinished).unlink(missing_ok=True)


def write_json(path: str | Path, content: Any, *, overwrite: bool = True) -> None:
    """Write JSON, as [`write_text`] does."""
    write_text(path, json.dumps(content, indent=2) + "\n", overwrite=overwrite)

"""Which texts contain a phrase, and what to say where no row has what was asked for.

Then positions of rows that look alike are given, not what they hold: it may be personal data.
"""

import difflib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Phrase = str | re.Pattern[str]
SHOWN = 5  # as many names and positions an error lists
COMPARED = 10_000  # as many values are searched for near matches


def contains(column: pa.ChunkedArray, phrase: Phrase) -> np.ndarray:
    if isinstance(phrase, str):
        return pc.fill_null(pc.match_substring(column, phrase), False).to_numpy().astype(bool)
    found = (
        text is not None and phrase.search(text) is not None for chunk in column.chunks for text in chunk.to_pylist()
    )
    return np.fromiter(found, dtype=bool, count=len(column))


def missing_values(of_how_many: str, name: str, missing: list[Any], column: pa.ChunkedArray) -> str:
    shown = ", ".join(map(repr, missing[:SHOWN])) + (" ..." if len(missing) > SHOWN else "")
    near = sorted({row for value in missing[:SHOWN] for row in _near_rows(str(value), column)})[:SHOWN]
    hint = f" Values that look alike stand in rows {', '.join(map(str, near))}." if near else ""
    return (
        f"{len(missing)} {of_how_many} match no row in {name!r}: {shown}.{hint} Correct them, or pass "
        "`allow_missing=True` to forget the rows of the others."
    )


def _near_rows(value: str, column: pa.ChunkedArray) -> list[int]:
    """Positions of rows whose value looks like another one. Positions, since the values may be personal data."""

    def plain(text: Any) -> str:
        return re.sub(r"[\W_]+", "", str(text)).casefold()

    unique = pc.unique(column).to_pylist()
    same = [one for one in unique if one is not None and plain(one) == plain(value)]
    if not same:
        spelled = {str(one): one for one in unique[:COMPARED] if one is not None}
        same = [spelled[one] for one in difflib.get_close_matches(value, spelled, SHOWN, cutoff=0.8)]
    return [pc.index(column, pa.scalar(one, column.type)).as_py() for one in same[:SHOWN]]


def unmatched_phrases(name: str, unmatched: list[Phrase], column: pa.ChunkedArray) -> str:
    shown = ", ".join(repr(one.pattern if isinstance(one, re.Pattern) else one) for one in unmatched[:SHOWN])
    words = [one for one in unmatched if isinstance(one, str)]
    other_case = [contains(column, re.compile(re.escape(one), re.IGNORECASE)) for one in words]
    rows = np.flatnonzero(np.logical_or.reduce(other_case)) if words else np.empty(0, dtype=int)
    if rows.size:
        hint = (
            f" In other letters' case, {rows.size} rows do, such as row {rows[0]}: "
            "`re.compile(re.escape(...), re.IGNORECASE)` finds them."
        )
    else:
        near = sorted({row for phrase in words[:SHOWN] for row in _near_texts(phrase, column)})[:SHOWN]
        hint = f" Rows {', '.join(map(str, near))} have words that look alike." if near else ""
    return f"No text in {name!r} contains {shown}.{hint} Capitals, spaces and punctuation count."


def _near_texts(phrase: str, column: pa.ChunkedArray) -> list[int]:
    """Positions of some texts with as many words in a row as the phrase has, that look like it."""
    length, near = len(phrase.split()), []
    for position, text in enumerate(column.slice(0, COMPARED // 5).to_pylist()):
        words = re.findall(r"\w+", (text or "").casefold())
        runs = {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}
        if difflib.get_close_matches(phrase.casefold(), runs, 1, cutoff=0.8):
            near.append(position)
            if len(near) == SHOWN:
                break
    return near

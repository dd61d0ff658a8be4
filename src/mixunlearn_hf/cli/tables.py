"""What the commands print."""

from collections.abc import Sequence
from typing import Any

CLASSES_SHOWN = 20
FEW_STEPS = 10  # three leave one row as it is, thirty forget it (docs/odd_requests.md)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in line: the first to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    )


def request_table(record: dict[str, Any]) -> str:
    """What was asked for and how many rows that is, by class."""
    asked = [_selector(one) for one in record["selectors"]]
    counts, parts = record["rows_per_class"], list(record["rows"])
    names = list(dict.fromkeys(name for part in counts.values() for name in part))
    touched = [name for name in names if counts.get("forget", {}).get(name)] or names
    rows = [[name, *(_count(counts.get(part, {}).get(name, 0)) for part in parts)] for name in touched[:CLASSES_SHOWN]]
    if len(touched) > CLASSES_SHOWN:
        rows.append([f"{len(touched) - CLASSES_SHOWN} more", *("" for _ in parts)])
    elif len(names) > len(touched):
        others = [name for name in names if name not in touched]
        rows.append(["other classes", *(_count(sum(counts[p].get(n, 0) for n in others)) for p in parts)])
    rows.append(["all", *(_count(record["rows"][part]) for part in parts)])
    return "\n".join(["Request", *(f"  {line}" for line in asked), "", table(["rows", *parts], rows)])


def _selector(one: dict[str, Any]) -> str:
    """One line: the kind of selector, what it asked for, the rows it matches by itself."""
    details = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in one.items()
        if name not in ("selector", "rows")
    ]
    asked = (
        details[0] if details and details[0].startswith(one["selector"]) else ", ".join([one["selector"], *details])
    )
    return f"{asked}: {_count(one['rows'])} rows"


def _count(value: int) -> str:
    return f"{value:,}"


def related_table(related: dict[str, Any], files: int) -> str:
    """What else carries the forget rows."""
    rows = [
        [f"{part}, {method}", _count(one["rows"]), _count(one["forget_rows"])]
        for part, found in related["found"].items()
        for method, one in found.items()
    ]
    lines = ["What else carries the forget rows", "", table(["", "rows", "of forget rows"], rows)]
    lines += [f"Not searched, {method}: {why}." for method, why in related["not_searched"].items() if method == "near"]
    if any(one["rows"] for one in related["found"].get("retain", {}).values()):
        lines += ["", "With `related: move`, those of the retain set are forgotten too."]
    if files:
        lines += ["", f"{files} files in the cache of `datasets` on this machine hold the rows as well."]
    return "\n".join(lines)


def scores_table(evaluation: dict[str, dict[str, Any]]) -> str:
    """Accuracy on every set, of each model or moment."""
    moments = list(evaluation)
    sets = evaluation[moments[0]]["sets"]
    rows = [
        [
            name,
            _count(one["rows"]),
            *(_percent(evaluation[moment]["sets"][name].get("accuracy")) for moment in moments),
        ]
        for name, one in sets.items()
    ]
    known = [evaluation[moment]["memorisation"] for moment in moments]
    if all(known):
        rows.append(["membership AUC", "", *(f"{one['membership_auc']:.3f}" for one in known)])
    titles = ["accuracy" if moment == "model" else moment for moment in moments]
    made = table(["accuracy on", "rows", *titles], rows)
    chance = f"\n(membership AUC: 0.5 +- {2 * known[0]['chance_deviation']:.3f} is chance)" if all(known) else ""
    return made + chance


def _percent(value: float | None) -> str:
    return "no labels" if value is None else f"{100 * value:.1f} %"


def memorisation_lines(evaluation: dict[str, Any], classes_go: bool) -> str:
    """Whether there is anything to forget."""
    sets, known = evaluation["sets"], evaluation["memorisation"]
    if classes_go:
        apart = sets.get("test_forgotten", sets["forget"])
        which = "unseen rows of these classes" if "test_forgotten" in sets else "the forget rows"
        return f"Is there anything to forget? The model is right on {_percent(apart['accuracy'])} of {which}."
    if known is None:
        return (
            "Is there anything to forget? That cannot be told without unseen rows of these classes: name a test set."
        )
    auc, spread = known["membership_auc"], 2 * known["chance_deviation"]
    verdict = (
        "yes, it fits them better than unseen rows"
        if auc > 0.5 + spread
        else "no difference can be shown with so many rows"
    )
    return (
        "Is there anything to forget? By its loss, the model tells these rows from unseen rows of their classes with\n"
        f"an AUC of {auc:.3f} (chance is 0.5, give or take {spread:.3f}): {verdict}."
    )


def cost_table(cost: dict[str, Any]) -> str:
    seconds, other = cost["seconds"], cost["retraining"]
    rows = [[name, f"{value:.1f}"] for name, value in seconds.items()]
    lines = [
        f"Cost, estimated from a few timed steps: {cost['steps']:,} steps",
        "",
        table(["", "seconds"], rows),
        "",
        f"at most {cost['peak_memory_bytes'] / 1e9:.1f} GB. Retraining without the forget rows, {other['epochs']:g} "
        f"epochs in batches of {other['batch_size']}: {other['seconds']:,.1f} s of",
        f"training, {other['peak_memory_bytes'] / 1e9:.1f} GB.",
    ]
    if cost["steps"] < FEW_STEPS:
        lines += ["", f"{cost['steps']} steps change little: raise `num_train_epochs`, lower the batch size."]
    return "\n".join(lines)

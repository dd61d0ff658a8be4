"""`mixunlearn plan | run | evaluate`: choosing the command, and saying what went wrong."""

import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

from ..errors import NonFiniteObjectiveError, UnlearningError

DONE, FAILED, BAD_INPUT = 0, 1, 2
COMMANDS = {
    "plan": "what a request will do, touch and cost; changes nothing",
    "run": "forget, evaluate, and save the model with its results",
    "evaluate": "what a model says of the rows to forget and of the others",
}
USAGE = "\n".join(
    [
        "usage: mixunlearn COMMAND --config request.yaml [--any.setting value] [--json]",
        "",
        "Make a trained classifier forget part of its training data.",
        "",
        *(f"  {name:<10} {what}" for name, what in COMMANDS.items()),
        "",
        "`mixunlearn COMMAND --help` lists the settings. Ends with 0 if done, 2 on bad input, 1 on failure.",
    ]
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code: 0 done, 2 bad input, 1 failure."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return DONE if words else BAD_INPUT
    if words[0] == "--version":
        print(version("mixunlearn-hf"))
        return DONE
    if words[0] not in COMMANDS:
        print(f"mixunlearn has no command {words[0]!r}.\n\n{USAGE}", file=sys.stderr)
        return BAD_INPUT
    as_json = "--json" in words
    try:
        from .options import parse  # here, so that an import that fails is reported as any failure

        (data, request, training, plan), _ = parse(words[0], words[1:])
        command = importlib.import_module(f".{words[0]}", __package__)
        # What trainers say on the way goes to the error stream, so that the output holds the answer alone.
        with contextlib.redirect_stdout(sys.stderr):
            answer = command.run(data, request, training, plan)
    except UnlearningError as error:
        code = FAILED if isinstance(error, NonFiniteObjectiveError) else BAD_INPUT
        return _fail(code, type(error).__name__, str(error), as_json)
    except KeyboardInterrupt:
        return _fail(FAILED, "KeyboardInterrupt", "Interrupted.", as_json)
    except Exception as error:
        if os.environ.get("MIXUNLEARN_DEBUG"):
            raise
        frames = "".join(traceback.format_tb(error.__traceback__)[-3:])
        text = f"{frames}What it says is not shown, since it could hold a row; MIXUNLEARN_DEBUG=1 shows it."
        return _fail(FAILED, type(error).__name__, text, as_json)
    if answer is not None:  # in the main process
        print(json.dumps(answer, indent=2) if as_json else command.show(answer))
    return DONE


def _fail(code: int, kind: str, text: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"type": kind, "message": text}}))
    else:
        print(f"{kind}: {text}", file=sys.stderr)
    return code

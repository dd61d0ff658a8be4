import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from mixunlearn_hf import files
from mixunlearn_hf.data import digests
from mixunlearn_hf.errors import OutputExistsError
from mixunlearn_hf.files import write_json, write_text


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def all_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_text_arrives_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "file.txt", "zwölf\nlines\n")
    assert (tmp_path / "a" / "b" / "file.txt").read_bytes() == "zwölf\nlines\n".encode()
    assert all_files(tmp_path) == ["a/b/file.txt"]


def test_json_can_be_read_back(tmp_path: Path) -> None:
    content = {"name": "ä", "rows": [1, None, 2.5]}
    write_json(str(tmp_path / "file.json"), content)
    assert json.loads((tmp_path / "file.json").read_text()) == content


@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o644])
def test_permissions_are_those_asked_for(wanted: int, tmp_path: Path) -> None:
    write_text(tmp_path / "file", "new", mode=wanted)
    assert mode(tmp_path / "file") == wanted


def test_secret_is_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even before its permissions are set."""
    seen = []
    chmod = os.chmod

    def look(path: Any, mode_: int) -> None:
        seen.append(mode(Path(path)))
        chmod(path, mode_)

    monkeypatch.setattr(files.os, "chmod", look)
    write_text(tmp_path / "key", "secret", mode=0o600)
    assert seen == [0o600]


def test_replacing_is_the_default_and_can_be_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    write_text(path, "new")
    with pytest.raises(OutputExistsError, match="exists already. Choose another name, or remove it first"):
        write_text(path, "newer", overwrite=False)
    assert path.read_text() == "new"
    assert all_files(tmp_path) == ["file"]


FAILURES = {
    "the disk is full": ("fsync", {"overwrite": True}),
    "permissions cannot be set": ("chmod", {"overwrite": True}),
    "it cannot be renamed": ("replace", {"overwrite": True}),
    "it cannot be linked": ("link", {"overwrite": False}),
}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_failure_leaves_no_half_and_spoils_nothing(
    failure: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, options = FAILURES[failure]

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(failure)

    path = tmp_path / "file"
    if there:
        path.write_text("old")
    monkeypatch.setattr(files.os, function, fail)
    with pytest.raises(OSError, match=failure):
        write_text(path, "new", **options)
    assert all_files(tmp_path) == (["file"] if there else [])
    assert not there or path.read_text() == "old"


def test_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "file", "new")
    assert all_files(tmp_path) == []


def test_what_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {1, 2})
    assert json.loads(path.read_text()) == [1]
    assert all_files(tmp_path) == ["file.json"]


def test_one_of_many_writers_wins_and_the_others_are_told(tmp_path: Path) -> None:
    path, start, outcomes = tmp_path / "file", threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        try:
            write_text(path, str(number) * 10_000, overwrite=False)
            outcomes.append(str(number))
        except OutputExistsError:
            outcomes.append("too late")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [outcome for outcome in outcomes if outcome != "too late"]
    assert len(outcomes) == 8
    assert path.read_text() == winner * 10_000
    assert all_files(tmp_path) == ["file"]


# ---- the key of digests ----


def test_default_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = digests.load_key()
    assert first == digests.load_key()
    assert all_files(tmp_path) == ["hf_home/mixunlearn/digest.key"]
    assert mode(tmp_path / "hf_home" / "mixunlearn" / "digest.key") == 0o600
    assert len(first) == 64
    assert first.decode() not in digests.key_id(first)


def test_key_made_at_once_by_many_is_one(tmp_path: Path) -> None:
    start, keys = threading.Barrier(8), []

    def load() -> None:
        start.wait()
        keys.append(digests.load_key())

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1
    assert all_files(tmp_path) == ["hf_home/mixunlearn/digest.key"]


def test_key_of_a_faster_process_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking for the key and writing it, another process has written its own."""
    write = digests.write_text

    def too_late(path: Path, text: str, **options: Any) -> None:
        write(path, "k" * 64)
        write(path, text, **options)

    monkeypatch.setattr(digests, "write_text", too_late)
    assert digests.load_key() == b"k" * 64


def test_key_that_cannot_be_written_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", fail)
        with pytest.raises(OSError, match="disk is full"):
            digests.load_key()
    assert all_files(tmp_path) == []
    assert len(digests.load_key()) == 64

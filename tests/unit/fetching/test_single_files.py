"""A single file, and forms that do not fit."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

from tests.unit.fetching.fetched import get
from vmkeep.errors import ConflictError, CorruptError, NotFoundError, UnsupportedError, UsageError
from vmkeep.fetching import require_possible, sha256_of
from vmkeep.fetching.content import PIECE
from vmkeep.model.fetched import FetchForm
from vmkeep.processes import mark_of_this_process


def test_a_file_gets_its_name_when_it_is_whole(files, tmp_path):
    files.file("/f", b"content", mode=0o600)
    seen = []
    out = tmp_path / "out"
    reading = files.open
    files.open = lambda path: (seen.append(out.exists()), reading(path))[1]

    get(files, "/f", out, None)

    assert out.read_bytes() == b"content"
    assert seen == [False]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_damaged_file_leaves_nothing_even_if_asked_to_keep_going(files, tmp_path):
    files.file("/f", b"x" * 3 * PIECE, damaged=True)

    with pytest.raises(CorruptError, match="disk0p1:/f: restore point vm/p"):
        get(files, "/f", tmp_path / "out", None, keep_going=True)

    assert list(tmp_path.iterdir()) == []


def test_no_file_is_replaced_and_no_folder_made(files, tmp_path):
    files.file("/f", b"content")
    (tmp_path / "out").write_text("mine")

    with pytest.raises(ConflictError, match="exists already"):
        get(files, "/f", tmp_path / "out", None)
    with pytest.raises(NotFoundError, match="there is no such folder"):
        get(files, "/f", tmp_path / "no/out", None)

    assert (tmp_path / "out").read_text() == "mine"


def test_a_content_shorter_than_its_size_is_damage(files, tmp_path):
    files.file("/f", b"x" * 100)
    files.nodes["/f"].content = b"x" * 50

    with pytest.raises(CorruptError, match="ends at byte 50"):
        get(files, "/f", tmp_path / "out", None)


def test_forms_that_do_not_fit_are_refused(files):
    files.folder("/d")
    files.file("/f")
    files.symlink("/l", "elsewhere")

    for path, form, streamed in (("/f", FetchForm.FOLDER, False), ("/d", None, True)):
        with pytest.raises(UsageError):
            require_possible(files.entry(path), form, streamed=streamed)
    with pytest.raises(UnsupportedError, match="symbolic link to 'elsewhere'"):
        require_possible(files.entry("/l"), None, streamed=False)


def test_the_sha256_is_that_of_the_content_with_its_holes(files):
    content = bytes(2 * PIECE + 7) + b"data" + bytes(PIECE)
    files.file("/f", content, extents=[(2 * PIECE + 7, 2 * PIECE + 11)])

    assert sha256_of(files, files.entry("/f")) == hashlib.sha256(content).hexdigest()


def killed_at_its_first_byte(files, path, out, form):
    """Fetch in a process of its own, which is killed while it writes."""
    process = os.fork()
    if process == 0:
        files.open = lambda _path: os.kill(os.getpid(), signal.SIGKILL)
        get(files, path, out, form)
        os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_the_next_draft_in_a_folder_removes_those_of_killed_processes_and_no_other(files, tmp_path):
    files.folder("/d", mode=0o500)
    files.file("/d/f", b"content")
    long = tmp_path / ("ž" * 120)
    killed_at_its_first_byte(files, "/d/f", tmp_path / "out", None)
    killed_at_its_first_byte(files, "/d", tmp_path / "folder", FetchForm.FOLDER)
    left = [each.name for each in tmp_path.iterdir()]
    living = tmp_path / f".out.vmkeep-{mark_of_this_process()}-01234567"
    foreign = tmp_path / f".out.vmkeep-{'0' * 16}-1-1-01234567"
    mine = tmp_path / ".notes.vmkeep-1"
    for each in (living, foreign, mine):
        each.write_text("not yours")

    get(files, "/d/f", long, None)

    assert [name.partition(".vmkeep-")[0] for name in left] == [".folder"]  # it has removed the one before
    assert sorted(tmp_path.iterdir()) == sorted([living, foreign, mine, long])

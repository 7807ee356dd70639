"""Drafts of exports in a folder: nothing of one counts before it is published, and a dead one is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.images import LocalPlace

MIB = 1 << 20
_DIES = """
import os, signal, sys
from pathlib import Path
from vmkeep.images import LocalPlace
from vmkeep.images import localdrafts

if sys.argv[2] == "naming":
    localdrafts.sync_folder = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
    localdrafts.LocalDraft._name = lambda self, name, real=localdrafts.LocalDraft._name: (
        os.kill(os.getpid(), signal.SIGKILL) if name.endswith(".json") else real(self, name))
with LocalPlace(Path(sys.argv[1])).draft("web", overwrite=False) as draft:
    sink = draft.create("web.raw", size=10)
    sink.write_at(0, b"half")
    if sys.argv[2] == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
    sink.finish(10)
    draft.publish("web.export.json", b"{}")
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_get_their_names_only_when_published_and_the_manifest_is_the_last(tmp_path):
    with LocalPlace(tmp_path).draft("web", overwrite=False) as draft:
        sink = draft.create("web.raw", size=MIB)
        sink.write_at(MIB - 3, b"end")
        sink.finish(MIB)
        assert not [name for name in names(tmp_path) if not name.startswith(".vmkeep-")]
        draft.publish("web.export.json", b"{}")
        assert [file.name for file in draft.files()] == ["web.raw"]

    assert names(tmp_path) == ["web.export.json", "web.raw"]
    assert (tmp_path / "web.raw").read_bytes() == bytes(MIB - 3) + b"end"


def test_a_draft_that_is_not_published_leaves_nothing(tmp_path):
    with LocalPlace(tmp_path).draft("web", overwrite=False) as draft:
        draft.create("web.raw", size=MIB)
        assert names(tmp_path)
    assert not names(tmp_path)


def test_a_name_that_is_taken_meanwhile_is_kept_and_no_other_file_gets_its_name(tmp_path):
    with LocalPlace(tmp_path).draft("web", overwrite=False) as draft:
        for name in ("a.raw", "b.raw"):
            draft.create(name, size=1).finish(1)
        (tmp_path / "b.raw").write_bytes(b"precious")
        with pytest.raises(ConflictError, match=r"b\.raw: exists already"):
            draft.publish("web.export.json", b"{}")
    assert names(tmp_path) == ["b.raw"]
    assert (tmp_path / "b.raw").read_bytes() == b"precious"


def test_two_exports_into_one_folder_go_on_side_by_side_unless_they_have_one_name(tmp_path):
    place = LocalPlace(tmp_path)
    with place.draft("web", overwrite=False) as first, place.draft("mail", overwrite=False) as second:
        with pytest.raises(ConflictError, match="another process is exporting 'web'"), place.draft(
            "web", overwrite=True
        ):  # fmt: skip
            pass
        for draft, name in ((first, "web"), (second, "mail")):
            draft.create(f"{name}.raw", size=1).finish(1)
            draft.publish(f"{name}.export.json", b"{}")
    assert names(tmp_path) == ["mail.export.json", "mail.raw", "web.export.json", "web.raw"]


@pytest.mark.parametrize("when", ["writing", "naming"])
def test_the_next_export_removes_what_a_killed_one_left(tmp_path, when):
    died = subprocess.run([sys.executable, "-c", _DIES, str(tmp_path), when], check=False)
    assert died.returncode == -9
    assert names(tmp_path)

    with LocalPlace(tmp_path).draft("mail", overwrite=False):
        assert len(names(tmp_path)) == 1
    assert not names(tmp_path)


def test_a_draft_of_another_machine_stays_for_a_day(tmp_path):
    theirs = tmp_path / ".vmkeep-0123456789abcdef.partial"
    theirs.mkdir()
    note = theirs / ".note"
    note.write_text(json.dumps({"name": "web", "process": 1, "boot": "another"}))

    with pytest.raises(ConflictError), LocalPlace(tmp_path).draft("web", overwrite=False):
        pass
    for path in (note, theirs):
        os.utime(path, (0, 0))
    with LocalPlace(tmp_path).draft("web", overwrite=False):
        assert not theirs.exists()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="no such folder"):
        LocalPlace(tmp_path / "missing")

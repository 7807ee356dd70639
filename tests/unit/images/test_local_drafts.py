"""Drafts of exports in a folder: nothing of one counts before it is published, and a dead one is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.images import LocalPlace, localnames
from vmkeep.model.exports import ExportedDisk, ExportedPoint, ImageFormat, WrittenFile

MIB = 1 << 20
_DIES = """
import os, shutil, signal, sys
from pathlib import Path
from vmkeep.images import LocalPlace
from vmkeep.images import localnames

def die(*given, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def name(draft, path, real=localnames.name_if_free):
    return die() if path.name.endswith(".json") else real(draft, path)

if sys.argv[2] == "naming":
    localnames.name_if_free = name
if sys.argv[2] == "moving":
    localnames.sync_folder = die
if sys.argv[2] == "cleaning":
    shutil.rmtree = die
with LocalPlace(Path(sys.argv[1])).draft("web", overwrite=len(sys.argv) > 3) as draft:
    sink = draft.create("web.raw", size=10)
    sink.write_at(0, b"half")
    if sys.argv[2] == "writing":
        die()
    sink.finish(10)
    draft.publish("web.export.json", b"{}")
"""


def die(folder, when, *force):
    """Export ``web`` in a process that kills itself."""
    died = subprocess.run([sys.executable, "-c", _DIES, str(folder), when, *force], check=False)
    assert died.returncode == -9


def manifest(*files):
    """Return the manifest of an export ``web`` with some files."""
    disk = ExportedDisk(number=0, label="disk", device_key=1, capacity=1, root="0" * 64, bytes_written=0,
                        files=tuple(WrittenFile(name=name, size=1) for name in files))  # fmt: skip
    return ExportedPoint(
        name="web", place="", format=ImageFormat.RAW, repository="", point="", vm="", disks=(disk,)
    ).encode()


def fill(folder, **contents):
    for name, content in contents.items():
        (folder / name.replace("_", ".")).write_bytes(content)


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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


def test_each_step_of_publishing_is_durable_before_the_next_and_the_manifest_is_first_to_go_and_last_to_come(
    tmp_path, monkeypatch
):
    fill(tmp_path, web_raw=b"old", web_export_json=manifest("web.raw"))
    steps = []

    def noted(step, real):
        def note(*paths):
            steps.append((step, paths[-1].name))
            return real(*paths)

        return note

    monkeypatch.setattr(localnames, "sync_folder", noted("sync", localnames.sync_folder))
    monkeypatch.setattr(localnames, "name_if_free", noted("name", localnames.name_if_free))
    monkeypatch.setattr(Path, "rename", noted("move", Path.rename))
    with LocalPlace(tmp_path).draft("web", overwrite=True) as draft:
        draft.create("web.raw", size=1).finish(1)
        draft.publish("web.export.json", b"{}")

    folder = ("sync", tmp_path.name)
    assert steps == [
        ("move", "web.export.json"), ("move", "web.raw"), ("sync", ".older"), folder,
        ("name", "web.raw"), folder, ("name", "web.export.json"), folder,
    ]  # fmt: skip


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
    die(tmp_path, when)
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


def test_files_whose_manifest_was_replaced_are_never_taken_back_from_a_complete_export(tmp_path):
    die(tmp_path, "cleaning")
    (tmp_path / "new").write_bytes(b"{ }")
    (tmp_path / "new").replace(tmp_path / "web.export.json")  # as 'point apply', an editor, or rsync does

    LocalPlace(tmp_path).clean()
    assert names(tmp_path) == ["web.export.json", "web.raw"]


def test_a_file_that_was_changed_after_its_export_died_is_not_taken_back(tmp_path):
    die(tmp_path, "naming")
    (tmp_path / "web.raw").write_bytes(b"somebody uses it")
    LocalPlace(tmp_path).clean()
    assert names(tmp_path) == ["web.raw"]


@pytest.mark.parametrize("when", ["writing", "moving", "naming"])
def test_an_older_export_comes_back_if_the_one_that_replaces_it_dies(tmp_path, when):
    fill(tmp_path, web_raw=b"old", web_b=b"old too", web_export_json=manifest("web.raw", "web.b"), other=b"mine")
    before = held(tmp_path)
    die(tmp_path, when, "--force")
    assert names(tmp_path) != sorted(before)

    LocalPlace(tmp_path).clean()
    assert held(tmp_path) == before


def test_an_older_export_comes_back_if_it_cannot_be_replaced_whole(tmp_path, monkeypatch):
    fill(tmp_path, web_raw=b"old", web_export_json=manifest("web.raw"))
    before = held(tmp_path)

    def taken(draft, path, real=localnames.name_if_free):
        return not path.name.endswith(".json") and real(draft, path)

    with LocalPlace(tmp_path).draft("web", overwrite=True) as draft:
        draft.create("web.raw", size=1).finish(1)
        with monkeypatch.context() as patch:
            patch.setattr(localnames, "name_if_free", taken)
            patch.setattr(
                localnames.Naming, "undo", lambda *given, real=localnames.Naming.undo: _unpatched(patch, real, given)
            )
            with pytest.raises(ConflictError):
                draft.publish("web.export.json", b"{}")
    assert held(tmp_path) == before


def _unpatched(patch, real, given):
    patch.undo()
    return real(*given)


def test_a_replaced_export_goes_with_all_its_files_and_with_no_others(tmp_path):
    fill(tmp_path, web_raw=b"old", web_b=b"old", precious=b"mine", web_c=b"not named",
         web_export_json=manifest("web.raw", "web.b", "precious"))  # fmt: skip
    with LocalPlace(tmp_path).draft("web", overwrite=True) as draft:
        draft.create("web.raw", size=1).finish(1)
        draft.publish("web.export.json", b"{}")
    assert held(tmp_path) == {"web.raw": b"\0", "web.export.json": b"{}", "precious": b"mine", "web.c": b"not named"}


def test_a_folder_of_an_exports_name_is_never_replaced(tmp_path):
    (tmp_path / "web.raw").mkdir()
    with LocalPlace(tmp_path).draft("web", overwrite=True) as draft:
        draft.create("web.raw", size=1).finish(1)
        with pytest.raises(ConflictError, match=r"web\.raw: is a folder"):
            draft.publish("web.export.json", b"{}")
    assert names(tmp_path) == ["web.raw"]


def test_an_image_to_which_qemu_writes_is_not_replaced(tmp_path):
    fill(tmp_path, web_raw=bytes(MIB), web_export_json=manifest("web.raw"))
    before = held(tmp_path)
    with LocalPlace(tmp_path).draft("web", overwrite=True) as draft:
        draft.create("web.raw", size=1).finish(1)
        with subprocess.Popen(
            ["qemu-io", "-f", "raw", str(tmp_path / "web.raw")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as qemu:
            qemu.stdout.read(len("qemu-io> "))  # it has the image open now
            with pytest.raises(ConflictError, match=r"web\.raw: is in use, by QEMU"):
                draft.publish("web.export.json", b"{}")
            with (
                pytest.raises(ConflictError, match="is in use"),
                LocalPlace(tmp_path).draft("mail", overwrite=False),
                LocalPlace(tmp_path).draft("web", overwrite=True),
            ):
                pass
            qemu.communicate(b"q\n")
    assert held(tmp_path) == before

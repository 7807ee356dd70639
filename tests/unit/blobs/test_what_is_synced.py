"""The folder store's order of system calls: what a later step relies on has been synced before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmkeep.blobs.local import LocalStore


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Record fsync, link and replace, by the names of the files concerned."""
    made: list[tuple[str, str]] = []

    def name(path) -> str:
        shown = os.path.relpath(path, tmp_path)
        return "temporary" if shown.startswith(".tmp/") else shown

    def fsync(file):
        made.append(("fsync", name(Path(f"/proc/self/fd/{file}").readlink())))

    def watched(verb, call):
        def run(source, target):
            made.append((verb, f"{name(source)} {name(target)}"))
            return call(source, target)

        return run

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", watched("link", os.link))
    monkeypatch.setattr(os, "replace", watched("replace", os.replace))
    return made


@pytest.mark.parametrize(("verb", "naming"), [("put", "link"), ("replace", "replace")])
def test_content_is_synced_before_its_name_and_the_name_before_the_call_returns(tmp_path, calls, verb, naming):
    store = LocalStore(tmp_path)
    getattr(store, verb)("packs/ab/x", b"content")

    assert calls == [
        ("fsync", "temporary"),
        (naming, "temporary packs/ab/x"),
        ("fsync", "packs/ab"),
        ("fsync", "packs"),
        ("fsync", "."),  # which holds the name of the new folder packs
    ]
    calls.clear()
    getattr(store, verb)("packs/ab/y", b"content")
    assert calls == [
        ("fsync", "temporary"),
        (naming, "temporary packs/ab/y"),
        ("fsync", "packs/ab"),
        ("fsync", "packs"),
    ]


def test_a_blob_that_was_there_already_is_durable_too_when_the_call_returns(tmp_path, calls):
    """Whoever created it may not have come to the folder's sync yet."""
    LocalStore(tmp_path).put("packs/ab/x", b"content")
    calls.clear()

    assert LocalStore(tmp_path).put("packs/ab/x", b"content") is False
    assert calls[-3:] == [("fsync", "packs/ab"), ("fsync", "packs"), ("fsync", ".")]


def test_folders_that_another_process_made_are_synced_before_a_call_returns(tmp_path, calls):
    (tmp_path / "packs" / "ab").mkdir(parents=True)

    LocalStore(tmp_path).put("packs/ab/x", b"content")

    assert calls[-3:] == [("fsync", "packs/ab"), ("fsync", "packs"), ("fsync", ".")]


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_folder_that_another_process_made_anew_is_synced_again(tmp_path, calls, verb):
    """It may have removed the folder, made it again and not have come to its own sync: ours has to do."""
    store = LocalStore(tmp_path)
    getattr(store, verb)("runs/r/leases/a", b"content")
    (tmp_path / "runs" / "r" / "leases" / "a").unlink()
    (tmp_path / "runs" / "r" / "leases").rmdir()
    (tmp_path / "runs" / "r").rmdir()
    (tmp_path / "runs" / "r" / "leases").mkdir(parents=True)
    calls.clear()

    getattr(store, verb)("runs/r/leases/b", b"content")

    named = [call for call, _ in calls].index({"put": "link"}.get(verb, verb))
    assert calls[named + 1 :] == [("fsync", "runs/r/leases"), ("fsync", "runs/r"), ("fsync", "runs")]

"""Calls of a folder's store to the kernel, in their order: seen by strace, so that no library can hide a call.

The policy is in docs/format.md, "In a folder".
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.patience import HANG

_CALLS = "openat,write,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir"
_LINE = re.compile(r"(?:\[pid +\d+\] )?(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_NAMES = {"linkat": "link", "renameat": "rename", "renameat2": "rename", "unlinkat": "unlink", "mkdirat": "mkdir"}
_SCRIPT = """
import sys
from pathlib import Path
from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.opening import create_store
store = LocalStore(Path(sys.argv[1])) if sys.argv[2] != "create" else create_store(sys.argv[1] + "/new")
match sys.argv[2]:
    case "put" | "create":
        store.put("packs/ab/one", b"content")
    case "put again":
        store.put("packs/ab/one", b"content")
        print("again", flush=True)
        store.put("packs/ab/one", b"content")
    case "replace":
        store.replace("runs/x/lease", b"content")
    case "delete":
        store.put("packs/ab/one", b"content")
        store.put("packs/ab/two", b"content")
        store.delete("packs/ab/one")
        store.delete("packs/ab/two")
"""


@dataclass(frozen=True)
class Call:
    """One system call that succeeded, with paths relative to the store's folder; ``~`` is a name in ``.tmp``."""

    name: str
    path: str
    to: str = ""


@pytest.fixture
def traced(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()

    def run(what):
        log = tmp_path / "strace.log"
        command = ["strace", "-f", "-y", "-o", str(log), "-e", f"trace={_CALLS}"]
        subprocess.run([*command, sys.executable, "-P", "-c", _SCRIPT, str(folder), what], check=True, timeout=HANG)
        return [call for line in log.read_text().splitlines() if (call := _call(line, str(folder))) is not None]

    return run


def _call(line, folder):
    match = _LINE.search(line)
    if match is None or match["result"].startswith("-"):
        return None
    paths = [
        re.sub(r"^\.tmp/[0-9a-f]{32}$", "~", path.removeprefix(folder).strip("/")) or "."
        for path in re.findall(r'["<]((?:/[^">]*))[">]', match["arguments"])
        if path == folder or path.startswith(folder + "/")
    ]
    name = _NAMES.get(match["call"], match["call"])
    if not paths or name == "openat":
        return None
    return Call(name, *paths[:2])


def _check(calls, *expected):
    """Whether these calls happened in this order, others between them or not."""
    rest = iter(calls)
    missing = next((call for call in expected if call not in rest), None)
    assert missing is None, f"{missing} is not there in its turn: {calls}"


def test_a_blobs_bytes_are_on_disk_before_its_name_and_its_name_before_put_returns(traced):
    calls = traced("put")

    _check(calls, Call("write", "~"), Call("fsync", "~"), Call("link", "~", "packs/ab/one"), Call("fsync", "packs/ab"))
    assert [call.name for call in calls].count("link") == 1


def test_the_names_of_all_folders_above_a_blob_are_on_disk_before_put_returns(traced):
    """Once the blob is named: until then another process may remove them and make them anew."""
    calls = traced("put")

    _check(calls, Call("mkdir", "packs"), Call("mkdir", "packs/ab"), Call("link", "~", "packs/ab/one"))
    assert calls[-3:] == [Call("fsync", "packs/ab"), Call("fsync", "packs"), Call("fsync", ".")]


def test_a_put_that_finds_the_blob_there_syncs_its_folder_too(traced):
    """Whoever created it may have died before."""
    calls = traced("put again")

    assert calls.count(Call("fsync", "packs/ab")) == 2
    assert calls[-2:] == [Call("fsync", "packs/ab"), Call("fsync", "packs")]


def test_a_replacing_rename_comes_after_the_bytes_and_before_the_folder(traced):
    calls = traced("replace")

    _check(calls, Call("write", "~"), Call("fsync", "~"), Call("rename", "~", "runs/x/lease"), Call("fsync", "runs/x"))
    assert calls[-3:] == [Call("fsync", "runs/x"), Call("fsync", "runs"), Call("fsync", ".")]


def test_what_was_deleted_does_not_come_back(traced):
    calls = traced("delete")

    _check(
        calls, Call("unlink", "packs/ab/one"), Call("fsync", "packs/ab"),
        Call("unlink", "packs/ab/two"), Call("rmdir", "packs/ab"), Call("fsync", "packs"),
    )  # fmt: skip
    assert calls[-1] == Call("fsync", "packs")


def test_a_new_repositorys_folder_is_on_disk_before_its_first_blob(traced):
    calls = traced("create")

    _check(calls, Call("mkdir", "new"), Call("fsync", "."), Call("mkdir", "new/packs"))

"""The whole life of a repository from the command line, for every kind of store."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from vmkeep.cli.main import cli

MIB = 1 << 20


def live(location: str, folder: Path) -> None:
    """Back up in full and incrementally, export, check, forget, collect, merge; compare every byte on the way.

    :param folder: for disk images.
    """
    disk = folder / "disk.raw"
    first = bytearray(random.Random(3).randbytes(6 * MIB) + bytes(4 * MIB))
    disk.write_bytes(first)
    _run(location, "repo", "init")
    old = _json(location, "image", "import", str(disk), "--name", "web")
    second = bytearray(first)
    second[MIB : 4 * MIB] = random.Random(4).randbytes(3 * MIB)  # half of the data: its old pack is worth rewriting
    disk.write_bytes(second)
    (folder / "extents.json").write_text(json.dumps([[MIB, 3 * MIB]]))
    changes = ("--since", old["point"], "--extents", str(folder / "extents.json"))
    new = _json(location, "image", "import", str(disk), "--name", "web", *changes)
    assert new["kind"] == "incremental"
    assert _export(location, old["point"], folder / "old.raw") == first
    assert _export(location, new["point"], folder / "new.raw") == second

    prune = ("repo", "prune", "--keep-last", "1", "--grace-hours", "0", "--yes")
    forgotten = _json(location, *prune)["report"]
    assert forgotten["points_forgotten"] == [old["point"]]
    assert forgotten["packs_rewritten"] > 0
    rest = _json(location, *prune)["report"]
    assert forgotten["bytes_freed"] + rest["bytes_freed"] > 6 * MIB  # the whole of the first point's pack
    _run(location, "repo", "merge")
    _run(location, "repo", "check", "--read-data")
    assert [point["ref"] for point in _json(location, "point", "list")] == [new["point"]]
    assert _export(location, new["point"], folder / "again.raw") == second


def _run(location: str, *arguments: str) -> str:
    done = CliRunner().invoke(cli, [*arguments, "-r", location], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def _json(location: str, *arguments: str) -> Any:
    return json.loads(_run(location, *arguments, "--json"))


def _export(location: str, point: str, out: Path) -> bytes:
    _run(location, "image", "export", point, str(out))
    return out.read_bytes()

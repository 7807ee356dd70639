"""Full backups to S3 and restores from it, beside obstore alone; and again with every request held back by 50 ms.

The server is SeaweedFS on loopback: it shares the cores with whoever is measured, and each contestant pays for its
own requests only. Through a proxy that holds back nothing is the base of the delayed case.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.contestant import remove
from bench.delay import DelayProxy
from bench.measure import Command, Figure, Stopwatch, say, touch_memory
from bench.programs import VMKEEP
from bench.report import Finding, Row
from vmkeep.testing.servers import s3_server

_DRIVER = Path(__file__).parents[1] / "drivers" / "objects.py"
_OBJECT = 64 << 20
_AT_ONCE = 4
_DELAY = 0.05
_ALONE = f"obstore alone, {_AT_ONCE} at once"
_COMPRESSIONS = ("none", "zstd")
_WAYS = ("direct", "through the proxy", "50 ms")
_FOLDER = "a folder instead"


@dataclass(frozen=True, slots=True)
class StorageRows:
    """Backups and restores of one image."""

    stopwatch: Stopwatch
    image: Path
    folder: Path

    def run(self, wanted: Sequence[str], rounds: int) -> list[Row]:
        """Return the rows ``s3 put`` and ``s3 get``, those that are wanted."""
        size = self.image.stat().st_blocks * 512
        put = Row(name="s3 put", title="Full backup to S3", size=size, of="bytes stored by each", against=_ALONE)
        get = Row(name="s3 get", title="Restore from S3", size=size, of="bytes read by each", against=_ALONE)
        for number in range(rounds):
            say(f"S3, round {number + 1} of {rounds} …")
            with _open_server(self.folder / "weed") as ways:
                self.stopwatch.run(self._moving("put", "warm-up", _AT_ONCE * _OBJECT, ways["direct"]))
                self._alone(ways["direct"], put, get)
                for compression in _COMPRESSIONS:
                    for number_of_way, way in enumerate(_WAYS):
                        location = f"s3://vmkeep/{compression}-{number_of_way}"
                        self._vmkeep(location, ways[way], put, get, f"{compression}, {way}")
                    folder = self.folder / "beside-s3"
                    self._vmkeep(str(folder), {}, put, get, f"{compression}, {_FOLDER}")
                    remove(folder)
        rows = [row for row in (put, get) if row.name in wanted]
        for row in rows:
            _judge(row)
        return rows

    def _alone(self, environment: dict[str, str], put: Row, get: Row) -> None:
        for verb, row in (("put", put), ("get", get)):
            figure = self._measure(row, _ALONE, self._moving(verb, "alone", row.size, environment))
            row.add(_ALONE, replace(figure, stored=row.size))

    def _moving(self, verb: str, prefix: str, size: int, environment: dict[str, str]) -> Command:
        arguments = [verb, "vmkeep", prefix, str(size), str(_OBJECT), str(_AT_ONCE)]
        return Command(argv=[sys.executable, str(_DRIVER), *arguments], environment=environment)

    def _vmkeep(self, location: str, environment: dict[str, str], put: Row, get: Row, name: str) -> None:
        where = ["--repository", location, "--json"]
        out = self.folder / "restored-s3.raw"
        _call([VMKEEP, "repo", "init", *where, "--compression", name.partition(",")[0]], environment)
        backup = [VMKEEP, "image", "import", *where, str(self.image), "--name", "disk"]
        export = [VMKEEP, "image", "export", *where, "latest:disk", "--disk", "0", str(out)]
        full = self._measure(put, name, Command(argv=backup, environment=environment))
        stored = int(_call([VMKEEP, "repo", "stats", *where], environment)["pack_bytes"])
        restore = self._measure(get, name, Command(argv=export, environment=environment))
        for row, figure in ((put, full), (get, restore)):
            row.sizes[f"vmkeep {name}"] = stored
            row.add(f"vmkeep {name}", replace(figure, stored=stored))
        if subprocess.run(["cmp", self.image, out], check=False).returncode:
            sys.exit(f"vmkeep {name}: restored something else than it had backed up")
        remove(out)

    def _measure(self, row: Row, name: str, command: Command) -> Figure:
        touch_memory(row.size)
        figure = self.stopwatch.run(command)
        say(f"  {row.name:12} {name:26} {figure.wall:7.2f} s")
        return figure


def _call(argv: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(argv, check=True, capture_output=True, env=os.environ | environment)
    return dict(json.loads(done.stdout))


def _judge(row: Row) -> None:
    rates = {name: row.sizes.get(name, row.size) / row.best(name).wall for name in row.figures}
    for compression in _COMPRESSIONS:
        direct, proxied, delayed = (rates[f"vmkeep {compression}, {way}"] for way in _WAYS)
        what = f"{row.name}, {compression}: bytes of objects per second against"
        row.findings.append(Finding(f"{what} {_ALONE}", "≥ 0.9", f"{direct / rates[_ALONE]:.2f}"))
        folder = rates[f"vmkeep {compression}, {_FOLDER}"]
        slower = min(folder, rates[_ALONE])
        row.notes.append(
            f"{compression}: {direct / slower:.2f} of the slower of obstore alone and the same in a folder"
        )
        row.findings.append(Finding(f"{what} the same without 50 ms a request", "≥ 0.8", f"{delayed / proxied:.2f}"))


@contextmanager
def _open_server(folder: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Run the server that the tests use too; yield the environment for each way to it."""
    folder.mkdir()
    try:
        with s3_server(folder) as server:
            port = urlsplit(server.endpoint).port or 80
            with DelayProxy(port, seconds=0) as proxy, DelayProxy(port, seconds=_DELAY) as delayed:
                ports = dict(zip(_WAYS, (port, proxy.port, delayed.port), strict=True))
                yield {
                    way: server.environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{each}"}
                    for way, each in ports.items()
                }
    finally:
        shutil.rmtree(folder)

"""Calls and bytes of single steps, as what is there grows by 4 and by 16: they ought to grow with what changed only.

    python -m bench.growth [--rows increment,latest,check,leftovers,rebuild,list,prune,deletion,marks] [--base 16]

Counts are exact, so that a busy machine changes none of them; CPU seconds are those of this process. The exponent is
that of the growth: 0 is none, 1 is in proportion. Each row makes a repository of its own in a folder below --dir.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from unittest import mock

from bench.measure import say
from bench.programs import machine
from vmkeep.catalog import open_catalog
from vmkeep.flows import disk_images
from vmkeep.flows.catalogued import use_catalog
from vmkeep.flows.check_values import Level
from vmkeep.flows.point_checks import VerifyRequest, verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.flows.pointlist import list_points
from vmkeep.flows.quality import check_quality
from vmkeep.images import export_image, importing
from vmkeep.maintenance import Margins, delete_points, execute, plan_deletion, plan_prune
from vmkeep.model.extents import Extent
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Kind, Repository, create_repository, open_repository, point_id
from vmkeep.repository.notes.leases import Lease

_TIMES: Final = (1, 4, 16)
_CAPACITY: Final = 4 << 20
_POINTS_OF_A_VM: Final = 4
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)

Counts = dict[str, float]
Row = Callable[[Path, int], Counts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS), help="of " + ", ".join(ROWS))
    parser.add_argument("--base", type=int, default=16, help="the smallest number of what is there (default: 16)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}\n\n| row | figure | " + " | ".join(f"{options.base * times:,}" for times in _TIMES), end="")
    print(" | exponent |\n|---|---|---|---|---|---|")
    for name in options.rows:
        found = [measured(ROWS[name], options.base * times, options.dir) for times in _TIMES]
        for figure in found[0]:
            told = [counts[figure] for counts in found]
            print(f"| `{name}` | {figure} | {' | '.join(map(shown, told))} | {exponent(told):.2f} |")


def measured(row: Row, size: int, folder: Path) -> Counts:
    """Return the figures of a row at one size, with a cache that nobody has used."""
    with tempfile.TemporaryDirectory(prefix="vmkeep-growth-", dir=folder) as made:
        os.environ["VMKEEP_CACHE"] = f"{made}/cache"
        return row(Path(made), size)


def exponent(values: list[float]) -> float:
    """Return the exponent with which the last value has grown from the first."""
    if not values[0] or not values[-1]:
        return 0.0
    return math.log(values[-1] / values[0]) / math.log(_TIMES[-1] / _TIMES[0])


def shown(value: float) -> str:
    """Return a figure with three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def increment(folder: Path, earlier: int) -> Counts:
    """A changed block is stored after some earlier increments: without a cache, and right after that once more."""
    disk = _disk(folder)
    changed = stored_changes(folder, disk, earlier + 1)
    first = store_change(folder, disk, earlier + 1, since=changed.point, cache=folder / "cold")
    second = store_change(folder, disk, earlier + 2, since=first.point, cache=folder / "cold")
    return {
        "calls without a cache": first.calls,
        "calls with that cache": second.calls,
        "calls of an increment, on average": changed.mean,
    }


def sweeps(folder: Path, over: int) -> Counts:
    """A changed block is stored while the records of some sweeps stand that are over, as prunes leave them for days."""
    disk = _disk(folder)
    changed = stored_changes(folder, disk, 1)
    with open_repository(str(folder / "repository")) as repository:
        for number in range(over):
            sweep = repository.sweep_records.begin_sweep([number.to_bytes(16, "big")])
            repository.sweep_records.decide(sweep, [number.to_bytes(16, "big")])
            repository.sweep_records.finish_sweep(sweep)
    first = store_change(folder, disk, 1, since=changed.point, cache=folder / "cold")
    return {"calls without a cache": first.calls}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A stored increment."""

    point: str
    """Its ref."""
    calls: float
    """The calls to the store."""
    mean: float = 0.0
    """Those of all increments before it and of itself, on average."""


def stored_changes(folder: Path, disk: Path, count: int) -> Changed:
    """Make a repository with a disk and some increments of it; return the last of these."""
    with create_repository(str(folder / "repository")):
        pass
    first = last = store_change(folder, disk, 0)
    spent = [(last := store_change(folder, disk, at, since=last.point)).calls for at in range(1, count)]
    return replace(last, mean=sum(spent) / len(spent) if spent else first.calls)


def store_change(
    folder: Path, disk: Path, number: int, *, since: str | None = None, cache: Path | None = None
) -> Changed:
    """Store a disk, or one changed block as an increment since a point."""
    with disk.open("r+b") as file:
        file.seek(number * 4096 % _CAPACITY)
        file.write(os.urandom(4096))
    start = number * 4096 % _CAPACITY
    with open_repository(str(folder / "repository"), cache=cache) as repository:
        request = disk_images.ImportRequest(paths=(disk,), name="web01")
        if since is not None:
            request = replace(request, since=since, extents=([Extent(start, start + 4096)],))
        # A VM has no two points of one second, and a seal would read all that have its own.
        at = mock.patch.object(importing, "now", return_value=_FIRST + timedelta(minutes=number))
        with at, mock.patch.object(Lease, "_renew"):  # whose calls tell how long the machine took
            point = disk_images.import_images(repository, request, on_progress=lambda _event: None).point
        return Changed(point=point.ref, calls=calls(repository))


def latest(folder: Path, vms: int) -> Counts:
    """The newest point of a VM is found by the VM's name, and another one by the beginning of its id."""
    refs = _filled(folder, vms)
    with open_repository(str(folder / "repository")) as repository:
        repository.find_point("latest:vm00000")
        named = calls(repository)
    found = {"calls for latest:NAME, no catalog": named}
    for catalog in ("that is new", "that knows them"):
        with open_repository(str(folder / "repository")) as repository:
            use_catalog(repository, lambda: _catalog(folder)).find_point("latest:vm00000")
            found[f"calls, a catalog {catalog}"] = calls(repository)
    with open_repository(str(folder / "repository")) as repository:
        repository.find_point(refs[0].rpartition("-")[2])
        return found | {"calls for an id": calls(repository)}


def check(folder: Path, points: int) -> Counts:
    """The structure of a repository is checked whose points have one disk in common, and of one with increments."""
    _filled(folder, points // _POINTS_OF_A_VM)
    alike = _checked(folder)
    other = folder / "other"
    other.mkdir()
    leftovers(other, points)
    return {"calls, one disk in common": alike, "calls, increments": _checked(other)}


def _checked(folder: Path) -> float:
    with open_repository(str(folder / "repository")) as repository:
        assert not repository.check()
        return calls(repository)


def leftovers(folder: Path, earlier: int) -> Counts:
    """Some runs have ended well: blobs that are left of them."""
    stored_changes(folder, _disk(folder), earlier)
    with open_repository(str(folder / "repository")) as repository:
        return {"blobs below runs/": repository.stats().run_blobs}


def rebuild(folder: Path, points: int) -> Counts:
    """The catalog is made anew from manifests."""
    _filled(folder, points // _POINTS_OF_A_VM)
    with open_repository(str(folder / "repository")) as repository, open_catalog(_catalog(folder)) as catalog:
        began = time.process_time()
        catalog.rebuild(repository)
        spent = time.process_time() - began
    size = (folder / "catalog.db").stat().st_size
    return {"CPU ms for a point": 1000 * spent / points, "bytes for a point": size / points}


def listing(folder: Path, points: int) -> Counts:
    """All points are listed out of a catalog that is complete."""
    _filled(folder, points // _POINTS_OF_A_VM)
    with open_repository(str(folder / "repository")) as repository:
        list_points(repository, catalog=_catalog(folder))
    with open_repository(str(folder / "repository")) as repository:
        began = time.process_time()
        assert len(list_points(repository, catalog=_catalog(folder)).entries) == points
        spent = time.process_time() - began
        return {"CPU ms for a point": 1000 * spent / points, "calls": calls(repository)}


def prune(folder: Path, points: int) -> Counts:
    """A pack that nothing reaches is deleted: two looks at all points."""
    _sealed(folder, points // _POINTS_OF_A_VM)
    with open_repository(str(folder / "repository")) as repository, repository.open_writer(run="waste") as out:
        content = os.urandom(4096)
        out.add(Kind.BLOCK, repository.framer.digester.of(Kind.BLOCK, content), content)
        out.flush()
    with open_repository(str(folder / "repository")) as repository:
        at_once = Margins(young_for=timedelta(), condemned_for=timedelta())
        plan = plan_prune(repository, None, margins=at_once, now=datetime.now(UTC))
        assert execute(repository, plan).packs_deleted
        return {"calls": calls(repository)}


def deletion(folder: Path, points: int) -> Counts:
    """Points are deleted together: all but one of each VM."""
    refs = _sealed(folder, points // _POINTS_OF_A_VM)
    going = [ref for number, ref in enumerate(refs) if number % _POINTS_OF_A_VM]
    return {"calls for a deleted point": _deleted(folder, going) / len(going)}


def marks(folder: Path, pinned: int) -> Counts:
    """One point is deleted while points of other VMs are pinned; and all pins are listed."""
    refs = _sealed(folder, pinned + 1)
    with open_repository(str(folder / "repository")) as repository:
        for ref in refs[_POINTS_OF_A_VM::_POINTS_OF_A_VM]:
            repository.marks.pin(ref, reason="bench", by="bench")
    with open_repository(str(folder / "repository")) as repository:
        before = calls(repository)
        assert len(repository.marks.all()) == pinned
        listed = calls(repository) - before
    return {"calls of a deletion": _deleted(folder, refs[:1]), "calls of a list, for each mark": listed / pinned}


def one_point(folder: Path, points: int) -> Counts:
    """One point is read in full, written to a file and copied to a new repository, while others are there."""
    ref = _filled(folder, points // _POINTS_OF_A_VM)[0]
    return {
        "calls of a verify": _of_point(
            folder, ref, lambda repository, _: verify(repository, ref, VerifyRequest(level=Level.ALL), by="bench")
        ),
        "calls of an export": _of_point(
            folder, ref, lambda repository, point: export_image(repository, point, 0, folder / "out.raw")
        ),
        "calls of a copy": _of_point(folder, ref, lambda repository, _: _copied(folder, repository, ref)),
    }


def quality(folder: Path, points: int) -> Counts:
    """The data quality of a repository is checked for the second time. No vCenter and no policy is asked."""
    _filled(folder, points // _POINTS_OF_A_VM)
    for _ in range(2):
        with open_repository(str(folder / "repository")) as repository:
            check_quality(repository, [], [], catalog=_catalog(folder))
            asked = calls(repository)
    return {"calls": asked}


def _of_point(folder: Path, ref: str, use: Callable[[Repository, RestorePoint], object]) -> float:
    with open_repository(str(folder / "repository")) as repository:
        use(repository, repository.load_point(ref))
        return calls(repository)


def _copied(folder: Path, source: Repository, ref: str) -> None:
    with create_repository(str(folder / "second")) as target:
        assert not copy_points(source, target, [ref]).failed


def _deleted(folder: Path, refs: list[str]) -> float:
    with open_repository(str(folder / "repository")) as repository:
        assert len(delete_points(repository, plan_deletion(repository, refs)).points_deleted) == len(refs)
        return calls(repository)


def _sealed(folder: Path, vms: int) -> list[str]:
    """Fill a repository as seals do, an hour ago but for one point: each point has its note. Return the refs."""
    refs = _filled(folder, vms)
    with open_repository(str(folder / "repository")) as repository:
        for ref in refs:
            repository.sealed_notes.try_to_remember(f"points/{ref}", "vm")
        for ref in refs[:-1]:
            os.utime(folder / "repository" / "points" / ref, (time.time() - 3600,) * 2)
    return refs


ROWS: Final[dict[str, Row]] = {
    "increment": increment, "latest": latest, "check": check, "leftovers": leftovers, "rebuild": rebuild,
    "list": listing, "sweeps": sweeps, "point": one_point, "quality": quality,
    "prune": prune, "deletion": deletion, "marks": marks,
}  # fmt: skip


def calls(repository: Repository) -> float:
    """Return the number of calls to the store of a repository that was opened for it."""
    assert repository.meter is not None
    return sum(verb.calls for verb in repository.meter.report())


def _catalog(folder: Path) -> str:
    return f"sqlite:///{folder}/catalog.db"


def _disk(folder: Path) -> Path:
    disk = folder / "disk.raw"
    disk.write_bytes(os.urandom(_CAPACITY))
    return disk


def _filled(folder: Path, vms: int) -> list[str]:
    """Make a repository with some points of each VM, which all have the same disk; return their refs."""
    disk = _disk(folder)
    with create_repository(str(folder / "repository")) as repository:
        request = disk_images.ImportRequest(paths=(disk,), name="pattern", guest_id="debian12_64Guest")
        pattern = disk_images.import_images(repository, request, on_progress=lambda _event: None).point
        refs = [repository.manifests.seal(point).ref for point in _alike(pattern, range(vms))]
        repository.sealed_notes.forget(f"points/{pattern.ref}")
        repository.blobs.delete(f"points/{pattern.ref}")
    say(f"{len(refs)} points are there")
    return refs


def _alike(pattern: RestorePoint, numbers: Iterable[int]) -> Iterator[RestorePoint]:
    for number in numbers:
        key = f"5029ab12-0000-4000-8000-{number:012d}"
        vm = replace(pattern.vm, name=f"vm{number:05}", key=key, instance_uuid=key)
        for day in range(_POINTS_OF_A_VM):
            run = f"bench-{day}"
            taken_at = pattern.taken_at - timedelta(days=day + 1)
            yield replace(pattern, id=point_id(run, key), run=run, vm=vm, taken_at=taken_at)


if __name__ == "__main__":
    main()

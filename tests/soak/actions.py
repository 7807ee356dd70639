"""Deeds of the processes of a soak: each function is the whole life of one process, on repositories others work on too.

A backup is done in steps that open the repository anew, as a pipeline's tasks do, under a run name that other
processes may have as well. What a process has to say it returns: refs that it sealed, and findings.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, cast
from unittest.mock import patch

from tests.sealed import opened, store_file
from tests.soak.content import Image, changes
from vmkeep import clock, filereader
from vmkeep.blobs import open_store
from vmkeep.blobs.store import BlobInfo, Bytes
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import NotFoundError
from vmkeep.flows.copy_values import CopyState, Verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.images import diskfiles, import_images
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.merge import execute_merge, plan_merge
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import Repository
from vmkeep.retention import RetentionRule
from vmkeep.transfer.storing import StoredDisk, back_up_disk

VMS = ("alpha", "beta", "gamma")
_PIECE = 262144


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything is."""

    source: str
    target: str
    folder: Path
    """For files that outlive their process."""
    left_for: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Task of one process, all of it drawn before it starts."""

    number: int
    action: str
    seed: int
    run: str
    clock_offset: float
    """Seconds by which its wall clock is wrong."""
    slow_store: float
    """Part of its calls to the store that take up to a tenth of a second."""
    slow_source: float
    """Seconds that it takes to read a piece of a disk."""


@dataclass(slots=True)
class Outcome:
    """Report of a process at its end."""

    sealed: dict[str, list[str]] = field(default_factory=lambda: {"source": [], "target": []})
    findings: list[str] = field(default_factory=list)
    """Anything that must not be."""
    lost_races: int = 0
    """Points that were forgotten while they were copied."""


def carry_out(site: Site, order: Order) -> Outcome:
    """Do what is ordered, with a wall clock of one's own."""
    process = _Process(site, order)
    getattr(process, order.action)()
    return process.outcome


class _Process:
    def __init__(self, site: Site, order: Order) -> None:
        self._site = site
        self._order = order
        self._chance = random.Random(order.seed)
        self.outcome = Outcome()
        _step_clock(timedelta(seconds=order.clock_offset))
        _slow_down_reading(order.slow_source)

    def import_full(self) -> None:
        vm = self._chance.choice(VMS)
        with TemporaryDirectory(dir=self._site.folder) as folder, self._open("source") as repository:
            paths = [image.store(Path(folder)) for image in self._new_images(vm)]
            self._sealed("source", import_images(repository, paths, name=vm).ref)

    def import_changes(self) -> None:
        """Continue any point of an imported VM, whichever its clock says is the newest."""
        vm = self._chance.choice(VMS)
        with TemporaryDirectory(dir=self._site.folder) as folder, self._open("source") as repository:
            refs = list(repository.point_refs(f"image-{vm}"))
            if not refs:
                return
            parent = repository.load_point(self._chance.choice(refs))
            old = [Image.named(image.disk.file_name) for image in parent.images]
            new = [Image(vm, image.disk, self._order.number) for image in old]
            point = import_images(
                repository,
                [image.store(Path(folder)) for image in new],
                name=vm,
                extents=[changes(*pair) for pair in zip(old, new, strict=True)],
                since=parent.ref,
            )
            self._sealed("source", point.ref)

    def backup(self) -> None:
        vm = self._chance.choice(VMS)
        with self._open("source") as repository:
            begun = repository.begin_run(self._order.run)
            config, size = store_file(repository, vm.encode() * 1000, run=self._order.run, begun=begun)
            taken_at = clock.now()
        with self._open("source") as repository:
            parent = self._any_point(repository, vm)
        images = []
        with TemporaryDirectory(dir=self._site.folder) as folder:
            for image in self._new_images(vm):
                with self._open("source") as repository:
                    stored, continued = self._copy(repository, image, image.store(Path(folder)), parent, begun)
                images.append(_described(image, stored, continued=continued))
        point = RestorePoint(
            id=secrets.token_hex(8), vm=VmIdentity(name=vm, key=vm), taken_at=taken_at, run=self._order.run,
            mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
            consistency=Consistency.CRASH, images=tuple(images),
            attachments={"config.xml": config}, attachment_sizes={"config.xml": size},
        )  # fmt: skip
        with self._open("source") as repository:
            self._sealed("source", repository.seal(point, begun=begun))

    def _copy(
        self, repository: Repository, image: Image, path: Path, parent: RestorePoint | None, begun: str
    ) -> tuple[StoredDisk, bool]:
        before = {Image.named(old.disk.file_name).disk: old for old in parent.images} if parent else {}
        old = before.get(image.disk)
        with diskfiles.LocalFileSource(path) as source:
            stored = back_up_disk(
                source,
                repository,
                run=self._order.run,
                begun=begun,
                extents=changes(Image.named(old.disk.file_name), image) if old else None,
                parent_root=old.root if old else None,
                cursor=None,
                snapshot=None,
                piece_size=_PIECE,
                depth=2,
                on_progress=lambda _: None,
                check=lambda: None,
            )
        return stored, old is not None

    def _any_point(self, repository: Repository, vm: str) -> RestorePoint | None:
        refs = list(repository.point_refs(vm))
        try:
            return repository.load_point(self._chance.choice(refs)) if refs and self._chance.random() < 0.8 else None
        except NotFoundError:
            return None

    def copy(self) -> None:
        with self._open("source") as source, self._open("target") as target:
            refs = list(source.point_refs())
            chosen = self._chance.sample(refs, k=min(len(refs), self._chance.randint(1, 3)))
            if self._chance.random() < 0.5:
                chosen = refs[-2:]  # as other processes do that start at the same time
            verify = self._chance.choice(list(Verify))
            report = copy_points(source, target, chosen, verify=verify)
            for point in report.points:
                if point.state in (CopyState.COPIED, CopyState.PRESENT):
                    self._sealed("target", point.ref)
                elif point.ref in source.point_refs():
                    self.outcome.findings.append(f"copy of {point.ref} failed: {point.problem}")
                else:
                    self.outcome.lost_races += 1

    def prune_source(self) -> None:
        self._prune("source")

    def prune_target(self) -> None:
        self._prune("target")

    def _prune(self, which: str) -> None:
        margins = Margins(
            young_for=timedelta(seconds=self._chance.choice((0, 0, 1))),
            condemned_for=timedelta(seconds=self._chance.choice((0, 0, 1))),
            left_for=timedelta(seconds=self._site.left_for),
        )
        rule = RetentionRule(keep_last=self._chance.randint(3, 12)) if self._chance.random() < 0.5 else None
        with self._open(which) as repository:
            plan = plan_prune(repository, rule, margins=margins, now=clock.now())
            _append(self._site.folder / f"forgotten-{which}", [verdict.point.ref for verdict in plan.forgotten])
            report = execute(repository, plan)
        for what, number in (("lost blocks", report.lost_blocks), ("damaged packs", len(report.packs_damaged))):
            if number:
                self.outcome.findings.append(f"prune of the {which} met {number} {what}")

    def merge(self) -> None:
        with self._open(self._chance.choice(("source", "target"))) as repository:
            execute_merge(repository, plan_merge(repository))

    def check(self) -> None:
        which = self._chance.choice(("source", "target"))
        with self._open(which) as repository:
            self.outcome.findings += [f"check of the {which}: {finding}" for finding in repository.check()]

    def _new_images(self, vm: str) -> list[Image]:
        return [Image(vm, disk, self._order.number) for disk in range(self._chance.randint(1, 2))]

    def _sealed(self, which: str, ref: str) -> None:
        self.outcome.sealed[which].append(ref)

    @contextmanager
    def _open(self, which: str) -> Iterator[Repository]:
        store = _Slow(open_store(getattr(self._site, which)), self._chance, self._order.slow_store)
        with opened(store) as repository:
            yield repository


class _Slow(WrappingStore):
    """A store some of whose calls take a while: others get in between."""

    def __init__(self, inner, chance: random.Random, part: float) -> None:
        super().__init__(inner)
        self._chance = chance
        self._part = part

    def _pause(self) -> None:
        if self._chance.random() < self._part:
            time.sleep(self._chance.random() / 10)

    def put(self, key: str, data: Bytes) -> bool:
        self._pause()
        return self.inner.put(key, data)

    def replace(self, key: str, data: Bytes) -> None:
        self._pause()
        self.inner.replace(key, data)

    def delete(self, key: str) -> None:
        self._pause()
        self.inner.delete(key)

    def get(self, key: str) -> bytes:
        self._pause()
        return self.inner.get(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self._pause()
        return self.inner.list(prefix)


def _described(image: Image, stored: StoredDisk, *, continued: bool) -> DiskImage:
    disk = Disk(
        key=2000 + image.disk, label=f"Hard disk {image.disk + 1}", controller=ControllerKind.SCSI,
        controller_type="ParaVirtualSCSIController", bus=0, unit=image.disk, capacity=len(image.content()),
        backing="raw-image", file_name=image.file_name,
    )  # fmt: skip
    kind = BackupKind.INCREMENTAL if continued else BackupKind.FULL
    return DiskImage(disk=disk, root=stored.root, kind=kind, reason="soak")


def _step_clock(offset: timedelta) -> None:
    """Set this process's wall clock wrong: the engine has but one, and it is in one module."""

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cast("Self", datetime.now(tz) + offset)  # an ordinary time, because manifests hold no other kind

    vars(clock)["datetime"] = Stepped


def _slow_down_reading(seconds: float) -> None:
    read = filereader.FileReader._read_at

    def slow(self, start: int, data: memoryview) -> None:
        time.sleep(seconds)
        read(self, start, data)

    patch.object(filereader.FileReader, "_read_at", slow).start()


def _append(path: Path, refs: list[str]) -> None:
    """Write down before it happens, in one call: this process may be killed any time."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, (json.dumps(refs) + "\n").encode())
    finally:
        os.close(file)

"""Disk drivers: found by an entry point, chosen by an order with a reason, and none knows of another.

The second driver is a package that a stranger might install: it reads and writes raw files, without any library.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.transfer_child.test_copy import copy, seal, write_job
from vmkeep.errors import TransferError, UsageError
from vmkeep.flows import connect
from vmkeep.model.access import AccessJob, VmAccess
from vmkeep.model.site import Site, parse_drivers
from vmkeep.model.vmref import VmRef
from vmkeep.transfer import change_access, choose_driver, drivers, probe_driver, start_write

RAW = '''
from contextlib import contextmanager
from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.images.diskfiles import LocalFileSource, LocalFileTarget
from vmkeep.model.diskaccess import AccessLimits, CallTiming, DriverProbe, Launch


class RawAccess:
    limits = AccessLimits(largest_piece=256 << 10, most_in_flight=2)

    def __init__(self):
        self.opened = 0

    def probe(self, launch):
        return DriverProbe(launch=launch, transports=("file",))

    @contextmanager
    def open_source(self, job):
        self.opened += 1
        with LocalFileSource(Path(job.disk.file_name)) as source:
            yield Limited(source)

    @contextmanager
    def open_target(self, job):
        self.opened += 1
        with LocalFileTarget(Path(job.target_file), capacity=job.capacity, create=False) as target:
            yield target

    @contextmanager
    def open_written(self, job):
        with LocalFileSource(Path(job.target_file)) as source:
            yield source

    def timings(self):
        return (CallTiming(name="open", calls=self.opened, seconds=0.0, longest=0.0, bytes=0),)


class Limited:
    """Refuses what the driver's limits do not allow, as a server with little memory would."""

    def __init__(self, source):
        self.source, self.capacity, self.transport = source, source.capacity, "raw"

    def allocated(self):
        return self.source.allocated()

    def open_reader(self, extents, *, piece_size, depth):
        assert piece_size <= 256 << 10
        assert depth <= 2
        return self.source.open_reader(extents, piece_size=piece_size, depth=depth)


class Raw:
    holds = False

    def __init__(self, rank, why_not=None):
        self.rank, self.why_not = rank, why_not

    def require(self, site):
        if self.why_not:
            raise UsageError(self.why_not)
        return Launch(library="raw files", version="1")

    @contextmanager
    def open(self, site, *, black_box):
        yield RawAccess()


LAST, FIRST, NAMED_ONLY, NEVER = Raw(99), Raw(1), Raw(None), Raw(0, "its licence has ended")
'''


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Install a package that brings disk drivers, given as ``name=object``."""
    folder = tmp_path / "site-packages"
    (folder / "raw_disks-1.dist-info").mkdir(parents=True)
    (folder / "raw_disks.py").write_text(RAW)
    (folder / "raw_disks-1.dist-info" / "METADATA").write_text("Name: raw-disks\nVersion: 1\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)

    def installed(**named):
        entries = "".join(f"{name} = {place}\n" for name, place in named.items())
        (folder / "raw_disks-1.dist-info" / "entry_points.txt").write_text(f"[vmkeep.disk_drivers]\n{entries}")
        drivers._places.cache_clear()

    yield installed
    drivers._places.cache_clear()


def test_a_second_driver_copies_and_restores_without_vddk(place, install, tmp_path):
    install(raw="raw_disks:LAST")
    by_vddk = copy(place, place.job(run="run-2"))
    other = replace(place, site=replace(place.site, vddk=None))

    done = copy(other)

    assert done.root == by_vddk.root
    assert (done.access.driver, done.access.library, done.access.transport) == ("raw", "raw files 1", "raw")
    assert "vddk cannot: no VDDK folder is given" in done.access.why
    target = tmp_path / "target.raw"
    target.write_bytes(b"\xaa" * len(place.content))
    with start_write(
        other.site, write_job(other, seal(other, done), target, fresh=False), on_progress=print
    ) as running:
        written = running.wait()
    assert target.read_bytes() == place.content
    assert written.access.driver == "raw"


def test_a_copy_tells_its_driver_and_why_the_others_were_not_taken(place, install):
    install(raw="raw_disks:LAST", never="raw_disks:NEVER")

    access = copy(place).access

    assert (access.driver, access.library, access.transport) == ("vddk", "VDDK 6.5.0", "file")
    assert access.why == ("vddk comes first of those that can; raw could too; never cannot: its licence has ended")


def test_the_log_of_a_copy_tells_its_driver_in_one_line(place, install, caplog):
    with caplog.at_level("INFO", logger="vmkeep"):
        copy(place)

    (told,) = (record.message for record in caplog.records if "VDDK 6.5.0" in record.message)
    assert told.endswith("(vddk is the only disk driver that works here)")


def test_the_rank_orders_the_drivers_and_the_site_orders_them_anew(place, install):
    install(raw="raw_disks:FIRST", asked="raw_disks:NAMED_ONLY")

    def chosen(order):
        return choose_driver(replace(place.site, disk_drivers=parse_drivers(order))).name

    assert chosen(None) == "raw"
    assert chosen("vddk:raw") == "vddk"
    assert chosen(" asked : vddk ") == "asked"


def test_a_driver_without_a_rank_is_never_taken_unasked(place, install):
    install(asked="raw_disks:NAMED_ONLY")

    with pytest.raises(UsageError, match="no VDDK folder is given"):
        choose_driver(replace(place.site, vddk=None))


def test_a_driver_that_nobody_installed_is_named_with_those_there_are(place, install):
    install(raw="raw_disks:LAST")

    with pytest.raises(UsageError, match=r"no disk driver is called 'nfc'.* raw, vddk"):
        choose_driver(replace(place.site, disk_drivers=("nfc",)))


def test_a_driver_that_does_not_load_stops_no_other(place, install):
    install(broken="raw_disks:NOTHING_SUCH", gone="no_such_module:DRIVER")

    choice = choose_driver(place.site)

    assert choice.name == "vddk"
    assert "broken cannot: the driver at raw_disks:NOTHING_SUCH does not load: AttributeError" in choice.reason
    assert "gone cannot: the driver at no_such_module:DRIVER does not load: ModuleNotFoundError" in choice.reason


def test_where_no_driver_works_each_ones_reason_is_told(place, install):
    install(never="raw_disks:NEVER")

    with pytest.raises(UsageError, match=r"never cannot: its licence has ended; vddk cannot: no VDDK folder"):
        choose_driver(replace(place.site, vddk=None))


def test_nobody_can_replace_vddk_by_its_name(place, install):
    install(vddk="raw_disks:FIRST")

    assert choose_driver(place.site).launch.library == "VDDK"


def test_a_driver_is_tried_before_a_backup_whichever_it_is(place, install, caplog):
    install(raw="raw_disks:FIRST")

    assert probe_driver(place.site).transports == ("file",)
    with caplog.at_level("INFO", logger="vmkeep"):
        connect.check_driver(place.site)
    assert any("disk driver raw (raw files 1): raw comes first" in record.message for record in caplog.records)


def test_a_driver_that_needs_no_access_hold_takes_none(place, install):
    install(raw="raw_disks:FIRST")
    vms = (VmAccess(vm=VmRef(moref="vm-1", name="web"), identity="vmkeep-1"),)

    assert change_access(place.site, AccessJob(vms=vms, prepare=True)).problems == {}
    # An old hold was taken by VDDK, so that VDDK is asked to end it.
    assert "no vCenter is given" in change_access(place.site, AccessJob(vms=vms, prepare=False)).problems["vm-1"]


def test_a_driver_that_dies_is_named(place, install, monkeypatch):
    install(raw="raw_disks:LAST")
    site = Site(repository=place.site.repository, disk_drivers=("raw",))
    monkeypatch.setenv("PYTHONPATH", "")  # the child's machine lacks the package

    with pytest.raises(TransferError, match="raw_disks"):
        copy(replace(place, site=site))

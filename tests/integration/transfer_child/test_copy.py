"""A transfer through its child process, over a local file and a library of 19 symbols."""

import logging
import os
import resource
import selectors
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.sealed import CHEAP, PASSPHRASE
from vmkeep.errors import ConflictError, DiskMovedError, RepositoryError, StaleError, UsageError, VddkError
from vmkeep.model.extents import Extent
from vmkeep.model.job import WriteJob
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.site import Site, VCenter
from vmkeep.model.vmref import VmRef
from vmkeep.repository import create_encrypted_repository, open_repository, open_site_repository
from vmkeep.repository.unlock import slots
from vmkeep.transfer import child_process as running_module
from vmkeep.transfer import probe_driver, start_copy, start_write
from vmkeep.vddk.folder import find_library


def copy(place, job=None, *, cursor=None, on_progress=lambda _: None):
    with start_copy(place.site, job or place.job(), cursor=cursor, on_progress=on_progress) as running:
        done = running.wait()
    assert_gone(running.pid)
    return done


def assert_gone(pid):
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def seal(place, done):
    point = RestorePoint(
        id="a" * 32, vm=VmIdentity(name="web", key="vm-key"), taken_at=datetime(2026, 1, 1, tzinfo=UTC), run=done.run,
        mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH,
        images=(DiskImage(disk=done.disk, root=done.root, kind=done.kind, reason=done.reason),),
    )  # fmt: skip
    with open_site_repository(place.site) as repository:
        return repository.seal(point)


def write_job(place, point, target, **changes):
    fields = {
        "run": "restore-1", "point": point, "device_key": 2000, "vm": VmRef(moref="vm-2", name="web"),
        "vcenter": None, "target_key": 2000,
        "target_uuid": None, "target_file": str(target), "capacity": len(place.content), "fresh": True,
        "transports": (),
    }  # fmt: skip
    return WriteJob(**(fields | changes))


@pytest.mark.parametrize("way", ["", "thread", "reverse", "sync", "chatty"])
def test_what_is_copied_by_one_child_is_written_back_by_another(place, monkeypatch, tmp_path, way):
    monkeypatch.setenv("FAKE_VDDK", way)
    events = []
    done = copy(place, on_progress=events.append)
    assert done.bytes_read == len(place.content)
    assert done.transport == "file"
    assert events
    point = seal(place, done)
    target = tmp_path / "target.raw"
    target.write_bytes(b"\xaa" * len(place.content))
    with start_write(place.site, write_job(place, point, target, fresh=False), on_progress=lambda _: None) as running:
        written = running.wait()
    assert target.read_bytes() == place.content
    assert written.bytes_written + written.bytes_zeroed >= len(place.content)
    assert written.transport == "file"


def test_the_children_open_an_encrypted_repository_with_the_sites_passphrase(place, monkeypatch, tmp_path):
    monkeypatch.setattr(slots, "COST", CHEAP)
    create_encrypted_repository(str(tmp_path / "encrypted"), passphrase=PASSPHRASE)
    sealed = replace(place, site=replace(place.site, repository=str(tmp_path / "encrypted"), passphrase=PASSPHRASE))
    point = seal(sealed, copy(sealed))
    target = tmp_path / "target.raw"
    target.write_bytes(b"\xaa" * len(place.content))
    with start_write(sealed.site, write_job(sealed, point, target, fresh=False), on_progress=lambda _: None) as running:
        running.wait()
    assert target.read_bytes() == place.content
    with pytest.raises(RepositoryError, match="wrong passphrase"):
        copy(replace(sealed, site=replace(sealed.site, passphrase="a wrong one")))


def test_a_copy_tells_the_cpu_seconds_of_its_process(place):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = copy(place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.cpu_seconds == pytest.approx(spent, abs=0.01)


def test_only_the_planned_extents_are_read(place):
    base = copy(place)
    with place.disk.open("r+b") as file:
        file.seek(9 << 20)
        file.write(b"changed" * 100)
    with open_repository(place.site.repository) as repository:
        repository.run("run-2").store_extents("extents-2000", (Extent(9 << 20, (9 << 20) + 1024),))
    job = place.job(run="run-2", kind=BackupKind.INCREMENTAL, extents="extents-2000", parent_root=base.root)
    second = copy(place, job)
    assert second.bytes_read <= 1 << 20
    assert second.root != base.root


def test_the_lease_is_given_back_before_the_result(place):
    copy(place)
    with open_repository(place.site.repository) as repository:
        assert not repository.run("run-1").has_live_lease()


def test_the_child_logs_through_the_parent_and_ends_with_the_table_of_calls(place, caplog):
    with caplog.at_level(logging.INFO, logger="vmkeep"):
        copy(place)
    text = "\n".join(record.message for record in caplog.records)
    assert "by VDDK 6.5.0 at" in text
    assert "web Hard disk 1: reading by file" in text
    assert "ReadAsync to callback" in text
    assert not [line for line in text.splitlines() if line.startswith("INFO")]  # the log itself says the level, once


def test_the_table_of_calls_is_only_for_who_asks_for_it(place, caplog):
    with caplog.at_level(logging.WARNING, logger="vmkeep"):
        copy(place)
    assert caplog.records == []


def test_what_the_library_said_is_told_when_it_fails(place, monkeypatch, caplog):
    monkeypatch.setenv("FAKE_VDDK", "fail=3:8")
    with caplog.at_level(logging.INFO, logger="vmkeep"), pytest.raises(VddkError):
        copy(place)
    assert any("VDDK said: init 6.5 in" in record.message for record in caplog.records)


def test_a_library_that_prints_cannot_fake_a_result(place, monkeypatch, caplog):
    monkeypatch.setenv("FAKE_VDDK", "chatty")
    with caplog.at_level(logging.INFO, logger="vmkeep"):
        assert copy(place).bytes_read == len(place.content)
    assert any("a lie" in record.message for record in caplog.records)


def test_a_parent_that_stood_still_while_its_child_ended_gets_the_result(place, monkeypatch):
    """A stopped process goes on, and finds the time of its wait over and the child gone."""
    looks = []
    select = selectors.DefaultSelector.select

    def first_comes_back_empty(self, timeout=None):
        looks.append(timeout)
        if len(looks) > 1:
            return select(self, timeout)
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        return []

    with start_copy(place.site, place.job(), cursor=None, on_progress=lambda _: None) as running:
        monkeypatch.setattr(selectors.DefaultSelector, "select", first_comes_back_empty)
        done = running.wait()

    assert done.bytes_read == len(place.content)


def test_a_parent_that_stood_still_for_long_does_not_take_its_child_for_silent(place, monkeypatch):
    select, clock = selectors.DefaultSelector.select, time.monotonic
    stood_still = []

    def first_comes_late(self, timeout=None):
        if not stood_still:
            stood_still.append(running_module.SILENCE + 1)
            return []
        return select(self, timeout)

    with start_copy(place.site, place.job(), cursor=None, on_progress=lambda _: None) as running:
        monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(stood_still))
        monkeypatch.setattr(selectors.DefaultSelector, "select", first_comes_late)
        done = running.wait()

    assert done.bytes_read == len(place.content)


def test_the_password_is_in_no_argument_and_no_variable_of_the_child(place):
    vcenter = VCenter(host="127.0.0.1", user="u", password="pa55-w0rd", thumbprint="AB" * 20)
    with start_copy(replace(place.site, vcenter=vcenter), place.job(), cursor=None, on_progress=lambda _: None) as run:
        for name in ("cmdline", "environ"):
            assert b"pa55-w0rd" not in Path(f"/proc/{run.pid}/{name}").read_bytes()
        assert run.wait().bytes_read == len(place.content)


def test_the_library_path_is_for_the_child_alone(place, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/mine")
    with start_copy(place.site, place.job(), cursor=None, on_progress=lambda _: None) as running:
        expected = f"LD_LIBRARY_PATH={find_library(place.site.vddk).library_path}:/opt/mine".encode()
        assert expected in Path(f"/proc/{running.pid}/environ").read_bytes().split(b"\0")
        running.wait()
    assert os.environ["LD_LIBRARY_PATH"] == "/opt/mine"


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        ("fail=3:8", VddkError, "reading 262144 bytes at byte .* of VM web: fake error 8"),
        ("open=15", VddkError, "opening .*disk.raw of VM web for reading: fake error 15"),
        ("init=16053", VddkError, "initialising VDDK"),
    ],
)
def test_the_librarys_errors_arrive_as_they_are(place, monkeypatch, way, error, message):
    monkeypatch.setenv("FAKE_VDDK", way)
    with pytest.raises(error, match=message):
        copy(place)


def test_a_disk_that_is_gone_is_named(place):
    place.disk.unlink()
    with pytest.raises(DiskMovedError, match=r"disk\.raw of VM web"):
        copy(place)


def test_a_disk_of_another_size_than_planned_means_planning_again(place):
    place.disk.write_bytes(place.content + bytes(512))
    with pytest.raises(StaleError, match="plan again"):
        copy(place)


def test_a_target_of_another_size_is_refused_before_a_byte_is_written(place, tmp_path):
    point = seal(place, copy(place))
    target = tmp_path / "target.raw"
    target.write_bytes(bytes(1024))
    with (
        start_write(place.site, write_job(place, point, target), on_progress=lambda _: None) as running,
        pytest.raises(ConflictError, match="has 1024 bytes"),
    ):
        running.wait()
    assert target.read_bytes() == bytes(1024)


def test_a_missing_repository_is_named(place, tmp_path):
    lost = replace(place, site=replace(place.site, repository=str(tmp_path / "nowhere")))
    with pytest.raises(Exception, match="nowhere"):
        copy(lost)


def test_without_a_vddk_folder_nothing_is_started(place):
    for site in (replace(place.site, vddk=None), replace(place.site, vddk="/nowhere")):
        with pytest.raises(UsageError, match="VDDK"):
            start_copy(site, place.job(), cursor=None, on_progress=lambda _: None)


def test_the_sites_rate_limit_reaches_the_child(place, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(UsageError, match="rate limit 'fast'"):
        copy(replace(place, site=replace(place.site, limit_rate="fast")))

    done = copy(replace(place, site=replace(place.site, limit_rate="unlimited,00:00-12:00=1GiB,12:00-24:00=1GiB")))
    assert done.bytes_read == len(place.content)


def test_a_copy_that_creeps_is_set_free_while_it_runs_and_a_wrong_limit_changes_nothing(place, monkeypatch, tmp_path):
    """Its first byte would come after hours: the limit is one byte per second."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    creeping = replace(place.site, limit_rate="1B")
    with start_copy(creeping, place.job(), cursor=None, on_progress=lambda _: None) as running:
        with pytest.raises(UsageError, match="rate limit 'fast'"):
            running.change_rate("fast")
        running.change_rate(None)
        assert running.wait().bytes_read == len(place.content)


def test_a_probe_tells_what_the_library_can_do(nineteen):
    found = probe_driver(Site(repository="", vddk=str(nineteen)))
    assert found.launch.version == "6.5.0"
    assert "ReadAsync" in found.functions
    assert "QueryAllocatedBlocks" in found.missing


def test_an_error_of_the_callers_progress_ends_the_child(place, monkeypatch):
    monkeypatch.setenv("FAKE_VDDK", "thread,delay=20000")

    def refuse(_):
        raise ValueError("the page is gone")

    with (
        pytest.raises(ValueError, match="the page is gone"),
        start_copy(place.site, place.job(), cursor=None, on_progress=refuse) as running,
    ):
        running.wait()
    assert_gone(running.pid)


def test_nothing_heavy_is_imported_before_the_library_is_initialised():
    """And so never in a child that takes or ends an access hold, of which each backup starts two."""
    code = "import sys, vmkeep.transfer.child, vmkeep.vddk.driver; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"ssl", "_ssl", "numpy", "msgspec", "cryptography", "obstore", "vmkeep.repository", "_hashlib"}
    heavy |= {"vmkeep.model.job", "vmkeep.model.point"}
    assert not heavy & set(done.stdout.split())

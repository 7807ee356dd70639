"""The array hook of a backup: called with the VM's snapshot in place, and always called again when no copy runs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.flows.restoring import back_up, new_run
from vmkeep.errors import ArrayHookError, ConflictError, UsageError, VmKeepError
from vmkeep.flows import array_hooks, backup, liveness
from vmkeep.flows.backup_values import BackupRequest, Preflight
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site
from vmkeep.repository import open_repository

VM = "app01"
SMALL = "web01"


class Hook:
    """A hook that writes down each call; told to fail, it does."""

    def __init__(self, folder: Path) -> None:
        self._calls, self._fails, self.path = folder / "calls", folder / "fails", folder / "hook"
        self.path.write_text(
            f'#!/bin/sh\nfacts=$(cat)\necho "$facts" >> {self._calls}\n'
            f'case "$facts" in *\'"event":"\'$(cat {self._fails})\'"\'*) exit 3;; esac\n'
        )
        self.path.chmod(0o755)
        self.fail("never")

    def fail(self, event: str) -> None:
        """Fail at one event from now on, or at each (``*``)."""
        self._fails.write_text(event)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []

    @property
    def story(self) -> list[str]:
        return [call["event"] for call in self.calls]


@pytest.fixture
def hook(tmp_path):
    return Hook(tmp_path)


@pytest.fixture
def hooked(site: Site, hook: Hook) -> Site:
    return replace(site, array_hook=str(hook.path))


@pytest.fixture
def begin(hooked: Site):
    """Begin a backup and stop after its snapshot; everything is cleaned up at the end."""
    begun: list[Preflight] = []

    def take(site: Site = hooked, **options: Any) -> Preflight:
        begun.append(backup.preflight(site, BackupRequest(vm_selector=SMALL, run=new_run(), owner="somebody")))
        backup.take_snapshot(site, begun[-1], **options)
        return begun[-1]

    yield take
    for pre in begun:
        with contextlib.suppress(VmKeepError):
            end(hooked, pre)


def end(site: Site, pre: Preflight) -> None:
    backup.remove_snapshot(site, pre.vm.moref or "", pre.request.run, vcenter=pre.vm.vcenter)


def notes(site: Site) -> list[str]:
    with open_repository(site.repository) as repository:
        return repository.run(array_hooks.AREA).names()


def test_the_hook_runs_after_the_snapshot_and_after_the_copy_with_the_names_that_an_array_knows(hooked, hook, bench):
    back_up(hooked, VM, include=("sata0:0",))

    before, after = hook.calls
    assert {**before, "event": "after"} == after
    assert (before["event"], before["vm"]["name"]) == ("before", VM)
    assert before["snapshot"].startswith("snapshot-")
    assert [(store["name"], store["kind"]) for store in before["datastores"]] == [("datastore1", "VMFS")]
    assert all(lun.startswith("naa.") for store in before["datastores"] for lun in store["luns"])
    copied, mapped = {disk["address"]: (disk["copied"], disk["lun"]) for disk in before["disks"]}, "scsi1:0"
    assert copied["sata0:0"] == (True, None)
    assert copied[mapped][0] is False
    assert copied[mapped][1].startswith("naa.6")
    assert notes(hooked) == bench.snapshots(VM) == []


def test_a_hook_that_fails_before_the_copy_fails_the_backup_and_leaves_nothing(begin, hook, hooked, bench):
    hook.fail("before")

    with pytest.raises(ArrayHookError, match="exit code 3"):
        begin()

    assert hook.story == ["before", "after"]
    assert notes(hooked) == bench.snapshots(SMALL) == []


def test_a_hook_whose_both_calls_failed_gets_the_second_again_without_a_wait(hook, hooked, caplog, bench):
    hook.fail("*")
    with pytest.raises(ArrayHookError, match=r"before the copy .* exit code 3"):
        back_up(hooked, SMALL)
    assert bench.snapshots(SMALL) == []
    (left,) = array_hooks.sweep(hooked, has_ended=lambda _owner: True)
    assert (left.called, left.state) == (False, str(left.problem))

    hook.fail("never")
    (swept,) = array_hooks.sweep(hooked, has_ended=lambda _owner: True)

    assert (swept.called, swept.problem) == (True, None)
    assert hook.story == ["before", *["after"] * 4]
    assert "may still be at work" not in caplog.text
    (cleaning,) = [said for said in caplog.messages if said.startswith("cleaning up failed too")]
    assert "may keep the snapshot" not in cleaning


def test_the_second_call_is_repeated_until_it_succeeds_on_a_proxy_that_has_the_hook(begin, hook, site, hooked, bench):
    pre = begin()
    hook.fail("after")

    with pytest.raises(ArrayHookError, match="exit code 3"):
        end(hooked, pre)
    assert bench.snapshots(SMALL) == []
    with pytest.raises(ArrayHookError, match="VMKEEP_ARRAY_HOOK is not set on this proxy"):
        end(site, pre)

    hook.fail("never")
    end(hooked, pre)
    end(hooked, pre)
    assert hook.story == ["before", "after", "after"]
    assert notes(hooked) == []


def test_the_hook_of_a_run_of_an_unknown_airflow_that_waits_for_its_copies_is_not_called(
    begin, hook, hooked, monkeypatch
):
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    alive = []
    run_hook = array_hooks.run_hook

    def swept_during(*arguments, **options):
        alive.extend(left.alive for left in array_hooks.sweep(hooked))
        return run_hook(*arguments, **options)

    monkeypatch.setattr(array_hooks, "run_hook", swept_during)
    begin()
    alive += [left.alive for left in array_hooks.sweep(hooked)]

    assert alive == [True, True]
    assert hook.story == ["before"]


def test_the_hook_of_a_dead_run_is_called_by_the_next_backup_and_by_the_sweep(begin, hook, hooked):
    dead = begin()
    assert [left.alive for left in array_hooks.sweep(hooked)] == [True]  # it has just begun
    seen = array_hooks.sweep(hooked, has_ended=lambda _owner: True, dry_run=True)
    assert [left.state for left in seen] == ["no living run"]
    with pytest.raises(ConflictError):
        begin()

    begin(has_ended=lambda _owner: True)

    assert hook.story == ["before", "after", "before"]
    assert hook.calls[1]["run"] == dead.request.run
    assert [left.problem for left in array_hooks.sweep(hooked, has_ended=lambda _owner: True)] == [None]
    assert hook.story == ["before", "after", "before", "after"]
    assert array_hooks.sweep(hooked) == ()


@pytest.mark.parametrize("minutes", [5, -6], ids=["ago", "by a clock that was ahead and was put back since"])
def test_a_first_call_whose_process_died_is_given_its_time_before_the_second(begin, hook, hooked, bench, minutes):
    pre = begin()
    with open_repository(hooked.repository) as repository:
        area = repository.run(array_hooks.AREA)
        (name,) = area.names()
        note = from_json(array_hooks.PendingHook, area.load(name))
        area.store(name, to_json(replace(note, returned=False)))

    with pytest.raises(ArrayHookError, match="may still be at work"):
        end(hooked, pre)

    assert (hook.story, bench.snapshots(SMALL)) == (["before"], [])
    area.store(name, to_json(replace(note, returned=False, since=note.since - timedelta(minutes=minutes))))
    end(hooked, pre)
    assert hook.story == ["before", "after"]


def test_a_hook_that_cannot_run_fails_the_backup_before_anything_is_touched(site, bench):
    with pytest.raises(UsageError, match="No such file"):
        backup.preflight(replace(site, array_hook="/no/such/hook"), BackupRequest(vm_selector=SMALL, run=new_run()))

    assert bench.snapshots(SMALL) == []

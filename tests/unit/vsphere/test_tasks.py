"""A wait for a task reads the few fields that it needs, and misses none that comes late."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vmkeep.vsphere import tasks
from vmkeep.vsphere.api import vim, vmodl

TASK = vim.Task("task-1")
MADE = vim.vm.Snapshot("snapshot-1")
BUSY = vim.fault.TaskInProgress(task=TASK)


class Server:
    """A property collector that answers a wait with these updates, and a read with the fields that it `holds`."""

    def __init__(self, *updates: dict[str, Any] | None, holds: dict[str, Any] | None = None) -> None:
        self._updates = list(updates)
        self._holds = holds or {}
        self.asked: list[list[str]] = []
        self.content = SimpleNamespace(propertyCollector=self)

    def CreatePropertyCollector(self) -> Server:
        return self

    def DestroyPropertyCollector(self) -> None:
        pass

    def CreateFilter(self, spec: Any, partial: bool) -> None:
        self.asked.append(list(spec.propSet[0].pathSet))

    def WaitForUpdatesEx(self, version: str, options: Any) -> Any:
        update = self._updates.pop(0)
        if update is None:
            return None
        changes = [SimpleNamespace(name=name, val=value) for name, value in update.items()]
        found = SimpleNamespace(objectSet=[SimpleNamespace(changeSet=changes)])
        return SimpleNamespace(version="1", filterSet=[found])

    def RetrievePropertiesEx(self, specs: Any, options: Any) -> Any:
        self.asked.append(list(specs[0].propSet[0].pathSet))
        fields = [SimpleNamespace(name=path, val=self._holds[path]) for path in self.asked[-1] if path in self._holds]
        return SimpleNamespace(objects=[SimpleNamespace(obj=TASK, propSet=fields, missingSet=None)], token=None)


def wait(server: Server, **options: Any) -> Any:
    return tasks.wait_task(server, TASK, what="the task", timeout=60.0, **options)


def test_state_and_result_come_by_one_call():
    server = Server({"info.state": "success", "info.result": MADE})

    assert wait(server, result=True) == MADE
    assert server.asked == [["info.state", "info.progress", "info.result", "info.error"]]


@pytest.mark.parametrize("order", [
    [{"info.state": "running", "info.progress": 3}, {"info.result": MADE}, {"info.state": "success"}],
    [{"info.state": "queued"}, None],
])  # fmt: skip
def test_a_result_counts_whichever_update_brings_it(order):
    server = Server(*order, holds={"info.state": "success", "info.result": MADE})

    assert wait(server, result=True) == MADE


def test_a_result_that_does_not_come_with_the_state_is_read():
    assert wait(Server({"info.state": "success"}, holds={"info.result": MADE}), result=True) == MADE


def test_a_task_whose_result_nobody_needs_takes_no_second_call():
    server = Server({"info.state": "success"})

    assert wait(server) is None
    assert len(server.asked) == 1


@pytest.mark.parametrize("server", [
    Server({"info.state": "error", "info.error": BUSY}),
    Server({"info.state": "error"}, holds={"info.error": BUSY}),
], ids=["with the state", "after it"])  # fmt: skip
def test_the_fault_of_a_task_is_raised_whether_it_comes_with_the_state_or_after_it(server):
    with pytest.raises(vim.fault.TaskInProgress):
        wait(server)


def test_a_task_that_failed_without_a_reason_is_said_to_have_given_none():
    with pytest.raises(vmodl.fault.SystemError) as caught:
        wait(Server({"info.state": "error"}))
    assert caught.value.reason == "the task failed and gave no reason"

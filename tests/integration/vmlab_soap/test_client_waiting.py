"""Scripts that people write with pyVmomi to wait and to look back: filters, versions, tasks, events, alarms."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from pyVmomi import vim, vmodl

from tests.patience import HANG

PC = vmodl.query.PropertyCollector


@pytest.fixture
def vm(vm_at):
    return vm_at("Test/twin")


@pytest.fixture
def done(vm, run):
    """Six tasks of one VM: three times on, three times off."""
    for _ in range(3):
        run(vm.PowerOnVM_Task())
        run(vm.PowerOffVM_Task())


def watch(collector, *refs, kind, paths):
    """A filter over some objects' properties."""
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=ref) for ref in refs], propSet=[PC.PropertySpec(type=kind, pathSet=paths)]
    )
    return collector.CreateFilter(spec, True)


def changes(update):
    """Return the changes in an answer of WaitForUpdatesEx: {path: value}."""
    return {change.name: change.val for part in update.filterSet for one in part.objectSet for change in one.changeSet}


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_filter_s_versions_follow_each_other(content, vm, run):
    collector = content.propertyCollector.CreatePropertyCollector()
    watch(collector, vm, kind=vim.VirtualMachine, paths=["runtime.powerState", "name"])
    first = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=0))
    nothing = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0))
    run(vm.PowerOnVM_Task())
    second = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0))
    run(vm.PowerOffVM_Task())
    third = collector.WaitForUpdatesEx(second.version, PC.WaitOptions(maxWaitSeconds=0))

    assert changes(first) == {"runtime.powerState": "poweredOff", "name": "twin"}
    assert nothing is None
    assert (changes(second), changes(third)) == (
        {"runtime.powerState": "poweredOn"}, {"runtime.powerState": "poweredOff"},
    )  # fmt: skip
    assert len({first.version, second.version, third.version}) == 3
    collector.DestroyPropertyCollector()


def test_an_invented_version_is_refused(content, vm):
    collector = content.propertyCollector.CreatePropertyCollector()
    watch(collector, vm, kind=vim.VirtualMachine, paths=["name"])
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        collector.WaitForUpdatesEx("12345", PC.WaitOptions(maxWaitSeconds=0))
    collector.DestroyPropertyCollector()


def test_several_tasks_are_waited_for_with_one_filter(content, vm_at, vm, run):
    tasks = [vm.PowerOnVM_Task(), vm_at("Production/twin").PowerOnVM_Task()]
    collector = content.propertyCollector.CreatePropertyCollector()
    watch(collector, *tasks, kind=vim.Task, paths=["info.state", "info.error"])
    waiting, version, ended = set(tasks), "", {}
    while waiting:
        update = collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=int(HANG)))
        version = update.version
        for part in update.filterSet:
            for one in part.objectSet:
                state = {change.name: change.val for change in one.changeSet}.get("info.state")
                if state in ("success", "error"):
                    ended[one.obj] = state
                    waiting.discard(one.obj)
    collector.DestroyPropertyCollector()

    assert ended == dict.fromkeys(tasks, "success")
    for one in (vm, vm_at("Production/twin")):
        run(one.PowerOffVM_Task())


def test_a_waiting_script_is_woken_by_another_s_change(connect, vm):
    content, told = connect().RetrieveContent(), []
    mine = vim.VirtualMachine(vm._moId, content.rootFolder._stub)
    collector = content.propertyCollector.CreatePropertyCollector()
    watch(collector, mine, kind=vim.VirtualMachine, paths=["config.annotation"])
    version = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=0)).version
    waiter = threading.Thread(
        target=lambda: told.append(collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=int(HANG))))
    )
    waiter.start()
    vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="changed"))
    waiter.join(HANG)

    assert [changes(update)["config.annotation"] for update in told] == ["changed"]


# -- looking back -----------------------------------------------------------------------------------------------------


def of_vm(vm, spec, kind):
    """A filter for one VM's own tasks or events."""
    return spec(entity=spec.ByEntity(entity=vm, recursion=kind.self))


def test_recent_tasks_tell_what_was_done_to_whom_by_whom(content, vm, done):
    infos = [task.info for task in content.taskManager.recentTask]
    mine = [info for info in infos if info.entity == vm][-6:]

    assert [info.descriptionId for info in mine] == ["VirtualMachine.powerOn", "VirtualMachine.powerOff"] * 3
    assert {info.state for info in mine} == {"success"}
    assert {info.reason.userName for info in mine} == {"VSPHERE.LOCAL\\administrator"}
    assert all(info.queueTime <= info.startTime <= info.completeTime for info in mine)
    assert {task.info.key for task in vm.recentTask} >= {info.key for info in mine}


def test_a_task_collector_reads_forwards_backwards_and_the_latest_page(content, vm, done):
    spec = vim.TaskFilterSpec
    collector = content.taskManager.CreateCollectorForTasks(of_vm(vm, spec, spec.RecursionOption))
    forwards, page = [], collector.ReadNextTasks(4)
    while page:
        forwards += [info.key for info in page]
        page = collector.ReadNextTasks(4)
    backwards = [info.key for info in collector.ReadPreviousTasks(1000)]
    collector.SetCollectorPageSize(3)
    latest = [info.key for info in collector.latestPage]
    collector.ResetCollector()
    before = [info.key for info in collector.ReadPreviousTasks(1000)]
    collector.RewindCollector()
    oldest = [info.key for info in collector.ReadNextTasks(1)]
    collector.DestroyCollector()

    assert len(set(forwards)) == len(forwards) >= 6
    assert backwards == forwards[::-1]
    assert latest == forwards[::-1][:3]
    assert before == forwards[::-1][3:]
    assert oldest == forwards[:1]
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector.ReadNextTasks(1)


@pytest.mark.parametrize("number", [0, -1, 1001])
def test_a_page_of_no_or_too_many_tasks_is_refused(content, number):
    collector = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec())
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ReadNextTasks(number)
    collector.DestroyCollector()


def test_failed_tasks_are_found_by_their_state(content, vm, run):
    with pytest.raises(vim.fault.InvalidPowerState):
        run(vm.PowerOffVM_Task())
    spec = vim.TaskFilterSpec(state=[vim.TaskInfo.State.error])
    collector = content.taskManager.CreateCollectorForTasks(spec)
    infos = collector.ReadNextTasks(1000)
    collector.DestroyCollector()

    assert {info.state for info in infos} == {"error"}
    assert isinstance(infos[-1].error, vim.fault.InvalidPowerState)


def test_events_of_a_vm_are_queried_by_entity_time_type_and_user(content, vm, done):
    spec = vim.event.EventFilterSpec
    mine = of_vm(vm, spec, spec.RecursionOption)
    found = content.eventManager.QueryEvents(mine)
    assert len(found) >= 6
    assert {event.vm.vm for event in found} == {vm}
    assert found[-1].info.descriptionId == "VirtualMachine.powerOff"
    assert [event.key for event in found] == sorted(event.key for event in found)

    hour = timedelta(hours=1)
    mine.time = spec.ByTime(beginTime=datetime.now(UTC) - hour, endTime=datetime.now(UTC) + hour)
    assert len(content.eventManager.QueryEvents(mine)) == len(found)
    mine.time = spec.ByTime(endTime=datetime.now(UTC) - hour)
    assert list(content.eventManager.QueryEvents(mine)) == []
    assert list(content.eventManager.QueryEvents(spec(eventTypeId=["vim.event.AlarmStatusChangedEvent"]))) == []
    nobody = spec.ByUsername(systemUser=False, userList=["nobody"])
    assert list(content.eventManager.QueryEvents(spec(userName=nobody))) == []


def test_events_below_a_folder_are_found_from_the_folder(content, vm, done):
    spec = vim.event.EventFilterSpec
    counted = {}
    for recursion in ("self", "children", "all"):
        entity = spec.ByEntity(entity=content.rootFolder, recursion=recursion)
        found = content.eventManager.QueryEvents(spec(entity=entity))
        counted[recursion] = sum(1 for event in found if event.vm is not None and event.vm.vm == vm)

    assert counted["self"] == 0
    assert counted["all"] == counted["children"] >= 6


def test_the_latest_event_is_that_of_the_latest_task(content, vm, done):
    latest = content.eventManager.latestEvent

    assert isinstance(latest, vim.event.TaskEvent)
    assert latest.info.key == content.taskManager.recentTask[-1].info.key
    assert latest.fullFormattedMessage == "Task: VirtualMachine.powerOff"


def test_nothing_has_an_alarm(content, vm):
    assert list(content.alarmManager.GetAlarm(content.rootFolder)) == []
    assert list(content.alarmManager.GetAlarmState(vm)) == []
    assert list(content.rootFolder.triggeredAlarmState) == []
    assert list(content.scheduledTaskManager.RetrieveEntityScheduledTask(vm)) == []
    with pytest.raises(vmodl.fault.NotSupported):
        content.alarmManager.AcknowledgeAlarm(vim.alarm.Alarm("alarm-1"), vm)

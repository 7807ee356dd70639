"""The vCenter's history: the kept tasks, and an event for each, read by filter or through collectors.

A collector belongs to a session. Its position lies between two items: at first before the oldest one.
"""

from collections.abc import Callable
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site import Call, Site, computed, method

PAGE = 10
"""The items of a collector's latest page, until the client sets another number."""
MOST = 1000
"""The most items that a client may ask for at once."""

Items = list[tuple[int, Any]]
"""Tasks or events with their number, oldest first."""


def tasks(site: Site, wanted: Any) -> Items:
    """The kept tasks that a TaskFilterSpec selects."""
    found = [(_number(ref), site.world.get(ref, "info")) for ref in site.tasks.recent()]
    return [(number, info) for number, info in found if _task_wanted(site, wanted, info)]


def events(site: Site, wanted: Any) -> Items:
    """An event for each kept task, of those that an EventFilterSpec selects."""
    found = [(_number(ref), _event(site, site.world.get(ref, "info"))) for ref in site.tasks.recent()]
    return [(number, event) for number, event in found if _event_wanted(site, wanted, event)]


@method(vim.TaskManager, "CreateCollectorForTasks")
def create_task_collector(call: Call, filter: Any) -> Any:
    """A collector over the kept tasks."""
    return _collector(call, vim.TaskHistoryCollector, filter)


@method(vim.event.EventManager, "CreateCollectorForEvents")
def create_event_collector(call: Call, filter: Any) -> Any:
    """A collector over the events."""
    return _collector(call, vim.event.EventHistoryCollector, filter)


@method(vim.event.EventManager, "QueryEvents")
def query_events(call: Call, filter: Any, **_: Any) -> list[Any]:
    """All events of a filter at once, oldest first."""
    return [event for _, event in events(call.site, filter)][: filter.maxCount or MOST]


@computed(vim.event.EventManager, "latestEvent")
def latest_event(site: Site, _: Any) -> Any:
    """The newest event, if there is one."""
    found = events(site, None)
    return found[-1][1] if found else None


@computed(vim.event.EventManager, "maxCollector")
@computed(vim.TaskManager, "maxCollector")
def max_collector(_site: Site, _: Any) -> int:
    """The most collectors that one client may have."""
    return 32


@computed(vim.HistoryCollector, "latestPage")
def latest_page(site: Site, ref: Any) -> list[Any]:
    """The newest items, newest first."""
    return [item for _, item in reversed(_page(site, ref))]


@method(vim.TaskHistoryCollector, "ReadNextTasks")
@method(vim.event.EventHistoryCollector, "ReadNextEvents")
def read_next(call: Call, maxCount: int) -> list[Any]:
    """Return the items after the position, oldest first, and move the position behind them."""
    found = [item for item in _items(call.site, call.this) if item[0] > _position(call)][: _checked(maxCount)]
    if found:
        call.world.update(call.this, position=found[-1][0])
    return [item for _, item in found]


@method(vim.TaskHistoryCollector, "ReadPreviousTasks")
@method(vim.event.EventHistoryCollector, "ReadPreviousEvents")
def read_previous(call: Call, maxCount: int) -> list[Any]:
    """Return the items before the position, newest first, and move the position before them."""
    found = [item for item in _items(call.site, call.this) if item[0] <= _position(call)][-_checked(maxCount) :]
    if found:
        call.world.update(call.this, position=found[0][0] - 1)
    return [item for _, item in reversed(found)]


@method(vim.HistoryCollector, "RewindCollector")
def rewind_collector(call: Call) -> None:
    """Move the position before the oldest item."""
    call.world.update(call.this, position=0)


@method(vim.HistoryCollector, "ResetCollector")
def reset_collector(call: Call) -> None:
    """Move the position before the latest page."""
    page = _page(call.site, call.this)
    call.world.update(call.this, position=page[0][0] - 1 if page else 0)


@method(vim.HistoryCollector, "SetCollectorPageSize")
def set_collector_page_size(call: Call, maxCount: int) -> None:
    """Change how many items the latest page has."""
    call.world.update(call.this, page=_checked(maxCount))


@method(vim.HistoryCollector, "DestroyCollector")
def destroy_collector(call: Call) -> None:
    """Forget a collector."""
    call.world.remove(call.this)


def _collector(call: Call, kind: Any, wanted: Any) -> Any:
    assert call.session is not None
    ref = call.world.passing_ref(kind, "history")
    call.session.objects.add(ref._moId)
    return call.world.add(ref, lasting=False, filter=wanted, position=0, page=PAGE)


def _items(site: Site, ref: Any) -> Items:
    read: Callable[[Site, Any], Items] = tasks if isinstance(ref, vim.TaskHistoryCollector) else events
    return read(site, site.world.get(ref, "filter"))


def _page(site: Site, ref: Any) -> Items:
    return _items(site, ref)[-site.world.get(ref, "page") :]


def _position(call: Call) -> int:
    return int(call.world.get(call.this, "position"))


def _checked(count: int) -> int:
    if not 1 <= count <= MOST:
        raise vmodl.fault.InvalidArgument(invalidProperty="maxCount", msg=f"maxCount must be 1 to {MOST}")
    return count


def _number(ref: Any) -> int:
    return int(ref._moId.rpartition("-")[2])


def _event(site: Site, info: Any) -> Any:
    """Return the event that a vCenter posts when a task begins."""
    event = vim.event.TaskEvent(
        key=_number(info.task),
        chainId=info.eventChainId,
        createdTime=info.queueTime,
        userName=info.reason.userName,
        fullFormattedMessage=f"Task: {info.descriptionId}",
        info=info,
    )
    if isinstance(info.entity, vim.VirtualMachine) and site.world.exists(info.entity):
        event.vm = vim.event.VmEventArgument(name=info.entityName, vm=info.entity)
    return event


def _task_wanted(site: Site, wanted: Any, info: Any) -> bool:
    states = not wanted.state or info.state in wanted.state
    return bool(states and _common(site, wanted, info, info.reason.userName))


def _event_wanted(site: Site, wanted: Any, event: Any) -> bool:
    if wanted is None:
        return True
    kinds = {"vim.event.TaskEvent", "TaskEvent", "vim.event.Event", "Event"}
    typed = not wanted.eventTypeId or bool(kinds & set(wanted.eventTypeId))
    named = not wanted.type or any(isinstance(event, kind) for kind in wanted.type if isinstance(kind, type))
    return bool(typed and named and _common(site, wanted, event.info, event.userName))


def _common(site: Site, wanted: Any, info: Any, user: str) -> bool:
    """Return whether a task or its event passes the parts that both kinds of filter have: entity, time, user."""
    if wanted.userName is not None and wanted.userName.userList and user not in wanted.userName.userList:
        return False
    if wanted.time is not None:
        begin, end = wanted.time.beginTime, wanted.time.endTime
        if (begin and info.queueTime < begin) or (end and info.queueTime > end):
            return False
    return wanted.entity is None or _below(site, info.entity, wanted.entity.entity, wanted.entity.recursion)


def _below(site: Site, entity: Any, top: Any, recursion: str) -> bool:
    """Return whether an entity is the one asked for or lies below it, as far as the filter's recursion goes."""
    if entity == top:
        return recursion != "children"
    if recursion == "self" or entity is None or not site.world.exists(entity):
        return False
    parent = site.world.get(entity, "parent")
    return parent is not None and (parent == top or _below(site, parent, top, "all"))

"""Waiting for changes: property filters, WaitForUpdatesEx and its older kin.

A wait compares the present values with those sent last, and sleeps on the world's condition until something changes.
Filters belong to one collector of one session and end with it.
"""

import time
from typing import Any

from vmlab.api import dump, vmodl
from vmlab.managed.properties.filter_specs import check_filter_spec
from vmlab.managed.properties.selection import content, select
from vmlab.managed.site import Call, Collector, Sight, Site, Watch, method

PC = vmodl.query.PropertyCollector


@method(PC, "CreateFilter")
def create_filter(call: Call, spec: Any, partialUpdates: bool) -> Any:
    """Watch a selection; its first wait reports everything as entered."""
    check_filter_spec(spec)
    select(call.site, spec, call.sees())  # so that a missing start object is refused now
    ref = _own(call, PC.Filter, "session-filter", spec=spec, partialUpdates=partialUpdates)
    call.site.collectors.of(call.cookie, call.this).watches.append(Watch(ref=ref, spec=spec))
    call.site.collectors.of(call.cookie, call.this).checked = -1
    call.world.touch()
    return ref


@method(PC.Filter, "DestroyPropertyFilter")
def destroy_filter(call: Call) -> None:
    """Stop watching."""
    call.site.collectors.drop_filter(call.this)
    call.world.remove(call.this)


@method(PC, "CreatePropertyCollector")
def create_collector(call: Call) -> Any:
    """Make one more collector for this session."""
    return _own(call, PC, "session-collector")


@method(PC, "DestroyPropertyCollector")
def destroy_collector(call: Call) -> None:
    """Drop a collector made by CreatePropertyCollector, with its filters."""
    if call.this._moId == "propertyCollector":
        raise vmodl.fault.NotSupported(msg="the default property collector cannot be destroyed")
    for watch in call.site.collectors.of(call.cookie, call.this).watches:
        call.world.remove(watch.ref)
    call.site.collectors.forget(call.cookie, call.this._moId)
    call.world.remove(call.this)
    call.world.touch()


@method(PC, "CancelWaitForUpdates")
def cancel_wait(call: Call) -> None:
    """End a wait of this collector with RequestCanceled."""
    call.site.collectors.of(call.cookie, call.this).cancelled += 1
    call.world.touch()


@method(PC, "WaitForUpdatesEx", locked=False)
def wait_for_updates_ex(call: Call, version: str | None, options: Any) -> Any:
    """Return the changes since `version`, or None if there were none for `maxWaitSeconds`."""
    seconds = options.maxWaitSeconds if options is not None else None
    limit = options.maxObjectUpdates if options is not None else None
    return _wait(call, version or "", seconds, limit or 100)


@method(PC, "WaitForUpdates", locked=False)
def wait_for_updates(call: Call, version: str | None) -> Any:
    """Return the changes since `version`, however long it takes."""
    return _wait(call, version or "", None, 1 << 30)


@method(PC, "CheckForUpdates", locked=False)
def check_for_updates(call: Call, version: str | None) -> Any:
    """Return the changes since `version`, without waiting."""
    return _wait(call, version or "", 0, 1 << 30)


def _own(call: Call, kind: Any, prefix: str, **props: Any) -> Any:
    assert call.session is not None
    ref = call.world.passing_ref(kind, prefix)
    call.session.objects.add(ref._moId)
    return call.world.add(ref, lasting=False, **props)


def _wait(call: Call, version: str, seconds: float | None, limit: int) -> Any:
    world = call.world
    deadline = None if seconds is None else time.monotonic() + seconds
    with world.lock:
        state = call.site.collectors.of(call.cookie, call.this)
        cancelled = state.cancelled
        if version == "":
            state.version, state.checked = 0, -1
            for watch in state.watches:
                watch.known.clear()
        elif version != str(state.version):
            raise vmodl.query.InvalidCollectorVersion(msg=f"version {version} is not the collector's last one")
        while True:
            if updates := _updates(call.site, state, limit, call.sees()):
                return updates
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            world.changed.wait(5.0 if left is None else min(left, 5.0))
            _still_wanted(call, state, cancelled)


def _still_wanted(call: Call, state: Collector, cancelled: int) -> None:
    if call.world.stopping or state.cancelled != cancelled:
        raise vmodl.fault.RequestCanceled(msg="The request was canceled.")
    if call.session is not None and call.site.sessions.find(call.cookie) is None:
        raise vmodl.fault.RequestCanceled(msg="The session has ended.")
    if not call.world.exists(call.this):
        raise vmodl.fault.ManagedObjectNotFound(obj=call.this, msg="The property collector was destroyed.")


def _updates(site: Site, state: Collector, limit: int, sees: Sight) -> Any:
    """Return the changes since the last answer, of at most `limit` objects, or None if nothing changed."""
    if state.checked == site.world.revision:
        return None
    state.checked = site.world.revision
    answer = PC.UpdateSet(version="", truncated=False)
    for watch in state.watches:
        update = PC.FilterUpdate(filter=watch.ref)
        left = limit - sum(len(done.objectSet) for done in answer.filterSet)
        update.objectSet = _object_updates(site, watch, left + 1, sees)
        if len(update.objectSet) > left:
            _untell(watch, update.objectSet.pop())
            answer.truncated, state.checked = True, -1
        if update.objectSet:
            answer.filterSet.append(update)
        if answer.truncated:
            break
    if not answer.filterSet:
        return None
    state.version += 1
    answer.version = str(state.version)
    return answer


def _object_updates(site: Site, watch: Watch, limit: int, sees: Sight) -> list[Any]:
    updates: list[Any] = []
    selected = select(site, watch.spec, sees) if _start_exists(site, watch) else {}
    for moid, (ref, _) in list(watch.known.items()):
        if moid not in selected and len(updates) < limit:
            del watch.known[moid]
            updates.append(PC.ObjectUpdate(kind="leave", obj=ref))
    for moid, ref in selected.items():
        if len(updates) >= limit:
            break
        found = content(site, watch.spec, ref, sees)
        values = {prop.name: (dump(prop.val), prop.val) for prop in found.propSet}
        told = watch.known.get(moid, (ref, {}))[1]
        changes = [PC.Change(name=n, op="assign", val=v) for n, (xml, v) in values.items() if told.get(n) != xml]
        changes += [PC.Change(name=name, op="assign") for name in told if name not in values]
        if moid not in watch.known or changes:
            kind = "modify" if moid in watch.known else "enter"
            updates.append(PC.ObjectUpdate(kind=kind, obj=ref, changeSet=changes, missingSet=found.missingSet))
            watch.known[moid] = (ref, {name: xml for name, (xml, _) in values.items()})
    return updates


def _untell(watch: Watch, update: Any) -> None:
    """Take back an update that did not fit. The next answer starts with it."""
    if update.kind == "leave":
        watch.known[update.obj._moId] = (update.obj, {})
    else:
        watch.known.pop(update.obj._moId, None)


def _start_exists(site: Site, watch: Watch) -> bool:
    return all(site.world.exists(start.obj) for start in watch.spec.objectSet)

"""Tasks: each has a thread and is alone on its entity. Finished ones are kept until there are many.

A task runs a function; its result or fault is kept in `info`. Task objects do not survive a restart. After a crash of
the lab the work has ended too, and the next call finds what is half done. After `forget`, which is a restart of the
vCenter alone, the work goes on at its host, and nobody can ask for its task any more.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vmlab.api import fill, vim, vmodl
from vmlab.managed.world import World

log = logging.getLogger(__name__)

KEPT = 400
"""Finished tasks that can still be read."""


class Tasks:
    """Running and recent tasks, and the locks that keep two tasks off one entity."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._recent: deque[Any] = deque()
        self._locks: dict[str, threading.RLock] = {}
        self._busy: dict[str, Any] = {}
        """The task that works on a VM now, by the VM's id, even if it is forgotten."""
        self._threads: set[threading.Thread] = set()
        self._guard = threading.Lock()

    def entity_lock(self, ref: Any) -> threading.RLock:
        """Return the lock that a task holds while it works on an entity. Guest writes take it, too."""
        with self._guard:
            return self._locks.setdefault(ref._moId, threading.RLock())

    def recent(self) -> list[Any]:
        """References of kept tasks, oldest first."""
        with self._guard:
            return list(self._recent)

    def start(self, this: Any, user: str, description: str, work: Callable[[], Any]) -> Any:
        """Start `work` in a thread of its own, and return the task's reference at once.

        Raises TaskInProgress if another task works on the VM.
        """
        world = self._world
        ref = world.passing_ref(vim.Task, "task")
        entity = world.get(this, "vm") if isinstance(this, vim.vm.Snapshot) else this
        self._claim(entity, ref)
        info = vim.TaskInfo(
            key=ref._moId,
            task=ref,
            name=None,
            descriptionId=description,
            entity=entity if isinstance(entity, vim.ManagedEntity) else None,
            entityName=world.get(entity, "name") if isinstance(entity, vim.ManagedEntity) else None,
            state="queued",
            cancelled=False,
            cancelable=False,
            queueTime=datetime.now(UTC),
            eventChainId=1,
            reason=vim.TaskReasonUser(userName=user),
        )
        world.add(ref, lasting=False, info=fill(info))
        self._keep(ref)
        thread = threading.Thread(target=self._run, args=(ref, entity, work), name=ref._moId, daemon=True)
        with self._guard:
            self._threads.add(thread)
        thread.start()
        return ref

    def forget(self) -> int:
        """Forget every task object, as a restart of the vCenter does. Their work goes on. Returns their number."""
        with self._guard:
            lost = list(self._recent)
            self._recent.clear()
        with self._world.transaction():
            for ref in lost:
                self._world.remove(ref)
        self._world.touch()
        return len(lost)

    def cancel(self, ref: Any) -> None:
        """Let a task that is still queued end without having done anything."""
        self._set(ref, cancelled=True)

    def join(self, seconds: float) -> None:
        """Wait for running tasks, each for at most `seconds`."""
        with self._guard:
            threads = list(self._threads)
        for thread in threads:
            thread.join(seconds)

    def _claim(self, entity: Any, ref: Any) -> None:
        if not isinstance(entity, vim.VirtualMachine):
            return
        with self._guard:
            holder = self._busy.setdefault(entity._moId, ref)
        if holder is not ref:
            message = "The operation is not allowed: another task is already in progress."
            raise vim.fault.TaskInProgress(task=holder, msg=message)

    def _release(self, entity: Any, ref: Any) -> None:
        with self._guard:
            if self._busy.get(entity._moId) is ref:
                del self._busy[entity._moId]

    def _keep(self, ref: Any) -> None:
        with self._guard:
            self._recent.append(ref)
            old = self._recent.popleft() if len(self._recent) > KEPT else None
        if old is not None:
            self._world.remove(old)

    def _run(self, ref: Any, entity: Any, work: Callable[[], Any]) -> None:
        try:
            with self.entity_lock(entity):
                self._set(ref, state="running", startTime=datetime.now(UTC))
                outcome = self._outcome(ref, work)
            # First, because a client that sees the task's end may start the next one at once.
            self._release(entity, ref)
            self._set(ref, completeTime=datetime.now(UTC), **outcome)
        finally:
            self._release(entity, ref)
            with self._guard:
                self._threads.discard(threading.current_thread())

    def _outcome(self, ref: Any, work: Callable[[], Any]) -> dict[str, Any]:
        if self._world.exists(ref) and self._info(ref).cancelled:
            return {"state": "error", "error": vmodl.fault.RequestCanceled(msg="The task was canceled by a user.")}
        try:
            return {"result": work(), "state": "success"}
        except vmodl.MethodFault as fault:
            return {"error": fill(fault), "state": "error"}
        except Exception as error:
            log.exception("task %s failed", ref._moId)
            return {
                "error": vmodl.fault.SystemError(reason=repr(error), msg=f"A general system error occurred: {error}"),
                "state": "error",
            }

    def _info(self, ref: Any) -> Any:
        return self._world.get(ref, "info")

    def _set(self, ref: Any, **fields: Any) -> None:
        world = self._world
        with world.transaction():
            if not world.exists(ref):
                return
            info = world.get(ref, "info")
            changed = vim.TaskInfo(**{p.name: getattr(info, p.name) for p in info._GetPropertyList()})
            for name, value in fields.items():
                setattr(changed, name, value)
            world.update(ref, info=changed)

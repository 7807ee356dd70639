"""The task manager: lists recent tasks, and cancels one."""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site import Call, Site, computed, method


def check_cancel(call: Call) -> None:
    """Raise NoPermission if the task is another user's and the caller lacks Global.CancelTask."""
    assert call.session is not None
    reason = call.world.get(call.this, "info").reason
    if getattr(reason, "userName", None) != call.session.info.userName:
        call.site.access.require(call.session.user, call.this, "Global.CancelTask")


@method(vim.Task, "CancelTask", check=check_cancel)
def cancel_task(call: Call) -> None:
    """Cancel a task that has not begun. A running one cannot be cancelled here."""
    info = call.world.get(call.this, "info")
    if info.state in ("success", "error"):
        raise vim.fault.InvalidState(msg="The task has already completed.")
    if info.state == "running":
        raise vmodl.fault.NotSupported(msg="The task cannot be canceled while it runs.")
    call.site.tasks.cancel(call.this)


@computed(vim.TaskManager, "recentTask")
def recent_task(site: Site, _: Any) -> list[Any]:
    """The newest tasks."""
    return site.tasks.recent()[-50:]


@computed(vim.ManagedEntity, "recentTask")
def entity_recent_task(site: Site, ref: Any) -> list[Any]:
    """The newest tasks of one entity."""
    return [task for task in site.tasks.recent()[-50:] if site.world.get(task, "info").entity == ref]

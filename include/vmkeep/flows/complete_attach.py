"""Attaches disks of a restore point to a VM in one call, for the command line and for Airflow's task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vmkeep.flows import attach, attach_moves, restore
from vmkeep.flows.attach_values import Attached, AttachPlan, AttachPreview, AttachRequest
from vmkeep.flows.attach_wording import attach_lines
from vmkeep.flows.liveness import LEASE, HasEnded, nobody_knows
from vmkeep.flows.rollback import Rollback, rolled_back_on_failure
from vmkeep.flows.stopping import Stop
from vmkeep.model.job import Progress
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository
from vmkeep.repository.unlock import share_keys


def run_attach(
    site: Site,
    request: AttachRequest,
    *,
    bars: Callable[[str], Callable[[Progress], None]],
    announce: Callable[[str], None],
    show: Callable[[str], None] = lambda _line: None,
    stop: Stop | None = None,
    has_ended: HasEnded = nobody_knows,
) -> Attached:
    """Attach disks of one point to a VM: all of them, whole, or none.

    Once the VM has them, a failure of a later step is only a warning.

    A lease tells other processes that this one is at work, from before the first change to the end.

    :param show: takes the plan, line by line, before anything is changed.
    :param stop: ends the work early, from another thread.
    :param has_ended: tells whether the owner of another restore has ended; ``None``: the owner is not known.
    :raises CancelledError: the work was stopped; the VM has no new disk, unless the log says so.
    """
    share_keys()
    stop = stop or Stop()
    stop.check()
    plan = attach.plan_attach(site, request, has_ended=has_ended)
    for line in attach_lines(plan):
        show(line)
    for warning in plan.warnings:
        announce(warning)
    with (
        rolled_back_on_failure(_rollback(site, plan)) as transfers,
        stop.cancels(transfers.cancel),
        open_site_repository(site) as repository,
        repository.run(request.run).open_lease(LEASE) as lease,
    ):
        carrier = attach.make_carrier(site, plan)
        labels = {disk.key: disk.label for disk in plan.disks}
        writes = transfers.run(
            [
                partial(restore.write_disk, site, job, on_progress=bars(labels[job.device_key]))
                for job in attach.write_jobs(site, plan, carrier)
            ]
        )
        lease.check()
        stop.check()
        done = attach.hand_on(site, plan, carrier, writes)
    for warning in done.warnings[len(plan.warnings) :]:
        announce(warning)
    return done


def preview_attach(site: Site, request: AttachRequest, *, has_ended: HasEnded = nobody_knows) -> AttachPreview:
    """Return the plan in words. All is checked as for the real run, and nothing is changed."""
    plan = attach.plan_attach(site, request, has_ended=has_ended)
    return AttachPreview(lines=attach_lines(plan), warnings=plan.warnings)


def _rollback(site: Site, plan: AttachPlan) -> Rollback:
    name, run = plan.carrier.name, plan.request.run

    def remove() -> str | None:
        if not restore.clean_up(site, run):
            return None
        with open_site_repository(site) as repository:
            kept = attach_moves.kept_files(repository, run)
        if not kept:
            return f"VM {name} was removed with the new disks"
        return (
            f"VM {name} was removed; VM {plan.target.name} has the new disks {', '.join(kept)}, or may have had them: "
            "look at it before you attach them again"
        )

    return Rollback(
        action=remove,
        begins=f"VM {name} is removed with the new disks, unless VM {plan.target.name} has them already",
        left=f"VM {name} may stay with the new disks: the sweep ('vmkeep vm sweep') removes it",
    )

"""Compares a recovery plan with a repository: the VMs of each group, and their points. vSphere is not asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from vmkeep.catalog import ask_catalog
from vmkeep.errors import PlanError
from vmkeep.flows.clean_points import Cleanness, ScanStates
from vmkeep.flows.failed_checks import ListedProofs
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.point import settled_vcenters
from vmkeep.model.wording import counted
from vmkeep.recovery import ChosenVms, KnownPoint, RecoveryPlan, choose
from vmkeep.repository import Marks, Repository
from vmkeep.repository.points import is_ahead

if TYPE_CHECKING:
    from vmkeep.catalog import CatalogEntry, PointOrigin

_NOT_CLEAN: Mapping[Cleanness | None, str] = {
    Cleanness.FOUND: "not clean: a scan found malware in it",
    Cleanness.BASED: "not clean: a scan found malware in an older point whose files it shares",
}


def known_points(
    repository: Repository, *, catalog: str, scans: ScanStates | None = None
) -> tuple[tuple[KnownPoint, ...], tuple[str, ...]]:
    """Return the points of all VMs, oldest first, and a sentence for each point that cannot be read.

    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    :param scans: the scans of all points; ``None``: list them.
    """
    refreshed, entries, origins = ask_catalog(
        catalog,
        lambda cache: (cache.refresh(repository), cache.points(repository.id), cache.origins(repository.id)),
    )
    marks = repository.marks.all()
    doubts = (scans or ScanStates(repository)).doubts(entry.ref for entry in entries)
    by_ref = {origin.ref: origin for origin in origins}
    vcenters = _vcenters(entries)
    points = tuple(
        _known(
            entry,
            by_ref.get(entry.ref),
            marks.get(entry.ref),
            vcenters[entry.ref],
            scan=doubts.get(entry.ref),
        )
        for entry in entries
        if not is_host_key(entry.vm_key)
    )
    return points, refreshed.damaged


def _vcenters(entries: Iterable[CatalogEntry]) -> dict[str, str | None]:
    """Return the vCenter of each point, also of those by older programs that did not record it."""
    by_key: dict[str, list[CatalogEntry]] = defaultdict(list)
    for entry in entries:
        by_key[entry.vm_key].append(entry)
    return {
        entry.ref: vcenter
        for of_key in by_key.values()
        for entry, vcenter in zip(of_key, settled_vcenters([each.vcenter for each in of_key]), strict=True)
    }


def _known(
    entry: CatalogEntry,
    origin: PointOrigin | None,
    marks: Marks | None,
    vcenter: str | None,
    *,
    scan: Cleanness | None,
) -> KnownPoint:
    return KnownPoint(
        ref=entry.ref,
        taken_at=entry.taken_at,
        vm_name=entry.vm_name,
        vm_key=entry.vm_key,
        vcenter=vcenter,
        server=entry.server,
        moref=entry.moref,
        inventory_path=entry.inventory_path,
        addresses=origin.addresses if origin else (),
        dns_name=origin.dns_name if origin else None,
        doubt=_doubt(marks) or _NOT_CLEAN.get(scan, ""),
        pinned=marks is not None and marks.pin is not None,
        ahead=is_ahead(entry.taken_at),
    )


def _doubt(marks: Marks | None) -> str:
    if marks is None or marks.good:
        return ""
    if marks.damage is not None:
        return f"marked damaged ({marks.damage.reason})"
    return f"marked suspect ({marks.suspicion.reason if marks.suspicion else 'no reason is known'})"


def choose_in(
    repository: Repository, plan: RecoveryPlan, *, catalog: str, drill: bool = False, not_after: datetime | None = None
) -> ChosenVms:
    """Choose the VMs of a plan and their points.

    :param drill: the VMs get the names of a drill.
    :param not_after: no point that is younger is chosen, whatever the groups say.
    :raises PlanError: the plan cannot be rehearsed, because it names no isolated network.
    """
    if drill and plan.drill is None:
        raise PlanError(
            f"plan {plan.name} cannot be rehearsed: write 'drill:' with an isolated network in it, because the VMs of "
            "a drill must not meet those of production"
        )
    listed = ListedProofs(repository)
    points, unread = known_points(repository, catalog=catalog, scans=listed.scans)
    choice = choose(plan, points, policy_of=_Policies(repository), drill=drill, not_after=not_after)
    notes = tuple(f"a restore point cannot be read, and is not chosen: {why}" for why in unread)
    failed = listed.failed()
    doubted = tuple(
        f"{vm.vm_name}: the chosen point has failed a check ({', '.join(kinds)}), see 'vmkeep point show {vm.point}'"
        for vm in choice.vms
        if (kinds := failed.get(vm.point))
    )
    return ChosenVms(vms=choice.vms, problems=choice.problems, notes=(*notes, *doubted, *choice.notes))


class _Policies:
    """The policies of points, which only the manifests tell. Each is read once, and only where a plan asks."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._known: dict[str, str | None] = {}

    def __call__(self, ref: str) -> str | None:
        if ref not in self._known:
            self._known[ref] = self._repository.load_point(ref).policy
        return self._known[ref]


def require_fit(plan: RecoveryPlan, choice: ChosenVms) -> None:
    """Return if a plan fits the repository.

    :raises PlanError: it does not. The message has the first problem, and their number.
    """
    if choice.problems:
        more = len(choice.problems) - 1
        rest = f" (and {counted(more, 'more problem')}: 'vmkeep dr check' lists all)" if more else ""
        raise PlanError(f"plan {plan.name} does not fit the repository: {choice.problems[0]}{rest}")

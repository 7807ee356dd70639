"""Carries out a prune: sweeps old plans, writes the new plan, forgets points, rewrites packs.

Steps that free space come before steps that need some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from vmkeep.blobs import confirm_lists, remove_leftovers, require_creates
from vmkeep.errors import StoreFullError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.forget import forget
from vmkeep.maintenance.noting import note_points, require_points
from vmkeep.maintenance.packsweep import Swept, settle, sweep
from vmkeep.maintenance.plan import PrunePlan, marked
from vmkeep.maintenance.reserve import Room
from vmkeep.maintenance.rewrite import Rewritten, rewrite
from vmkeep.maintenance.storetime import age, store_time
from vmkeep.maintenance.tidy import forget_sweeps, remove_dead_forgettings, remove_dead_runs
from vmkeep.model.job import Progress
from vmkeep.repository import Repository
from vmkeep.repository.notes import remove_dead_announcements

_FOR_NOTES = 48 << 10
"""Bytes that are left to the records and the index of a move."""
_FOR_A_PACK = 256
"""Bytes that these grow by for each pack that is moved."""
_ANOTHERS = "another prune or deletion works in the room that was held back; the next prune rewrites them"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """The outcome of a prune. All sizes are in bytes."""

    points_forgotten: tuple[str, ...]
    """Refs."""
    points_kept: dict[str, str]
    """Ref → why a point that the plan forgets is still there: pinned, in use, locked, or by now the last of its VM."""
    packs_condemned: int
    """Packs that nothing reaches; a later prune deletes them."""
    packs_rewritten: int
    bytes_rewritten: int
    packs_damaged: dict[str, str] = field(default_factory=dict)
    """Pack → the damage because of which it was not rewritten and stays."""
    packs_deleted: int
    packs_pardoned: int
    """Packs that were condemned earlier and are reached again."""
    bytes_freed: int
    locked: dict[str, str] = field(default_factory=dict)
    """Blob → until when the store refuses to delete it."""
    given_way: bool
    """Another process could not wait and ended the sweep, which deleted nothing. The next prune will."""
    runs_removed: int
    """Areas of dead runs that were removed."""
    leftovers_removed: int
    """Files that were removed because the process that wrote them died."""
    not_rewritten: str = ""
    """Why packs that are small or mostly waste stay for now: the store is full. Empty if they were rewritten."""
    lost_blocks: int

    def require_room(self) -> None:
        """Return if the store had room for the whole prune.

        :raises StoreFullError: it had not; everything else is done.
        """
        if self.not_rewritten:
            raise StoreFullError(
                f"packs that are small or mostly waste stay as they are until there is room: {self.not_rewritten}"
            )


def execute(
    repository: Repository, plan: PrunePlan, *, on_progress: Callable[[Progress], None] = lambda _progress: None
) -> PruneReport:
    """Carry out a plan. May be stopped anywhere, and any number may run at once, beside any backups.

    :raises CorruptError: the blocks that restore points reach cannot be determined any more, or points are gone
        although nobody forgot them; no pack was deleted.
    :raises RepositoryError: the store cannot create a blob only if it is absent, or cannot do so any more. Sweeps and
        seals need that to settle which of them comes first. Nothing was changed.
    :raises StoreFullError: there is not even room to write down which packs are deleted.
    """
    confirm_lists(repository.blobs)
    require_points(repository)
    require_creates(repository.blobs)
    removed, leftovers = _tidy(repository, plan)
    room = Room(repository.blobs)
    try:
        with room.spending_reserve(packs=plan.packs, points=len(plan.forgotten)):
            locked = settle(repository)
            swept = _sweep(repository, plan, on_progress)
            _condemn(repository, {bytes.fromhex(pack) for pack in plan.condemned})
            forgotten, kept = _forget(repository, [verdict.point.ref for verdict in plan.forgotten])
            swept += _sweep(repository, plan, on_progress)
    except StoreFullError as error:
        raise StoreFullError(
            f"{error}; a prune has to write down what it deletes: make room for that much beside the repository, or "
            "allow it more, and prune again"
        ) from error
    note_points(repository)
    moved, emptied = _rewrite_and_sweep(repository, plan, room, on_progress)
    swept += emptied
    return PruneReport(
        points_forgotten=tuple(forgotten),
        points_kept=kept,
        packs_condemned=len(plan.condemned),
        packs_rewritten=moved.packs,
        bytes_rewritten=moved.bytes_stored,
        packs_damaged={pack.hex(): why for pack, why in moved.damaged.items()},
        packs_deleted=swept.deleted,
        packs_pardoned=swept.pardoned,
        bytes_freed=swept.bytes_freed,
        locked=locked | swept.locked,
        given_way=swept.given_way,
        runs_removed=removed,
        leftovers_removed=leftovers,
        not_rewritten=moved.no_room,
        lost_blocks=plan.lost_blocks,
    )


def _tidy(repository: Repository, plan: PrunePlan) -> tuple[int, int]:
    """Remove the leftovers of dead processes, and old records; return the number of runs and of files."""
    leftovers = remove_leftovers(repository.blobs, left_for=plan.margins.left_for)
    time = store_time(repository.blobs)
    removed = remove_dead_runs(repository, plan.margins, time=time)
    forget_sweeps(repository, plan.margins, time=time)
    remove_dead_forgettings(repository, plan.margins, time=time)
    repository.uses.remove_dead(time=time)
    remove_dead_announcements(repository.blobs, time=time)
    return removed, leftovers


def _condemn(repository: Repository, packs: set[bytes]) -> tuple[str, set[bytes]] | None:
    """Write a plan that condemns those of the packs that no plan condemns yet; return its id and its packs."""
    fresh = packs - frozenset[bytes]().union(*(plan.packs for plan in repository.sweep_records.plans()))
    return (repository.sweep_records.condemn(fresh), fresh) if fresh else None


def _forget(repository: Repository, refs: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Delete points, as :func:`forget` does. Where there is no room for a record of all, record half of them first.

    The manifests of the first half give room for the record of the second.
    """
    try:
        return forget(repository, refs)
    except StoreFullError:
        if len(refs) < 2:
            raise
    forgotten, kept = _forget(repository, refs[: len(refs) // 2])
    more, others = _forget(repository, refs[len(refs) // 2 :])
    return forgotten + more, kept | others


def _rewrite_and_sweep(
    repository: Repository, plan: PrunePlan, room: Room, on_progress: Callable[[Progress], None]
) -> tuple[Rewritten, Swept]:
    """Rewrite packs, and delete those that may go at once.

    If there is no room for all of them, rewrite first those that fit, in the room of the reserve if need be. Once they
    are deleted, there is room for more. If packs have to wait for their deletion, that would not help. A part that does
    not fit after all, e.g. because of a quota, is followed by half of it.
    """
    moved, swept = Rewritten(), Swept()

    def move(packs: Sequence[bytes]) -> None:
        nonlocal moved, swept
        moved = _rewrite(repository, packs, on_progress).after(moved)
        swept += _sweep(repository, plan, on_progress)

    left = {bytes.fromhex(pack): needed for pack, needed in plan.room.items()}
    most = len(left)
    while left:
        few = list(left) if plan.margins.condemned_for else _fitting(left, room.free())[:most]
        if few:
            move(few)
        else:
            with room.released_reserve():
                if few := _fitting(left, room.free())[:most]:
                    move(few)
        if not few:
            if room.is_anothers():
                moved = Rewritten(no_room=_ANOTHERS).after(moved)
            else:
                move(list(left))  # to tell how much room is missing
            break
        if not moved.no_room:
            left = {pack: needed for pack, needed in left.items() if pack not in few}
        elif len(few) < 2 or plan.margins.condemned_for:
            break
        else:
            most = len(few) // 2
    return moved, swept


def _fitting(packs: Mapping[bytes, int], room: int) -> list[bytes]:
    """Return the packs that can be rewritten together in so many bytes, those that need the least first."""
    room -= _FOR_NOTES
    fitting = []
    for pack, needed in sorted(packs.items(), key=lambda each: each[1]):
        room -= needed + _FOR_A_PACK
        if room < 0:
            break
        fitting.append(pack)
    return fitting


def _rewrite(repository: Repository, packs: Sequence[bytes], on_progress: Callable[[Progress], None]) -> Rewritten:
    """Condemn some packs and move their reached frames to new packs. A pack that could not be emptied stays.

    These packs have a plan of their own, because a sweep between its writing and the move would pardon them. They are
    moved in the order given: on a full disk, the frames that got room are then those with which the next try begins.
    """
    written: tuple[str, set[bytes]] | None = None
    try:
        if (written := _condemn(repository, set(packs))) is None and not packs:
            return Rewritten()
        condemned = frozenset[bytes]().union(*(plan.packs for plan in repository.sweep_records.plans()))
        live = marked(repository, condemned.union(packs)).live_frames(frozenset(packs))
        frames = {pack: live[pack] for pack in packs if pack in live}
        moved = rewrite(repository, frames, on_progress=on_progress)
        if moved.damaged and written:
            _condemn(repository, written[1] - moved.damaged.keys())
            repository.sweep_records.withdraw(written[0])
    except StoreFullError as error:
        if written:
            repository.sweep_records.withdraw(written[0])
        return Rewritten(no_room=str(error))
    return moved


def _sweep(repository: Repository, plan: PrunePlan, on_progress: Callable[[Progress], None]) -> Swept:
    """Sweep the plans that are old enough by now."""
    if not (plans := repository.sweep_records.plans()):
        return Swept()
    time = store_time(repository.blobs)
    ripe = [old for old in plans if age(old.written_at, time=time) >= plan.margins.condemned_for]
    return sweep(repository, ripe, on_progress=on_progress) if ripe else Swept()

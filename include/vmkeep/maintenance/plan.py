"""The plan of a prune, as a value: points to forget, packs to condemn or rewrite, and packs to sweep now.

Planning changes nothing except for a probe blob: it tells the store's time, and is removed at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime, tzinfo

from vmkeep.blobs import confirm_lists, is_there
from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.facts import point_facts
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.reachability import Rank, ReachedFrames
from vmkeep.maintenance.roots import Roots
from vmkeep.maintenance.storetime import age, time_for_plans
from vmkeep.repository import Repository
from vmkeep.repository.frames import pack_key
from vmkeep.retention import NO_POLICIES, PolicyRules, RetentionDecision, RetentionRule, decide_by_policy

_SMALL = 1 << 20
"""A pack below this size, in bytes, is small. Each increment leaves some, and a check asks for each by itself."""
_MANY = 64
"""Number of small packs that are put together. Fewer are not worth it, because what they become may be small again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """The plan of one prune. Packs are named by their ids in hex; all sizes are in bytes."""

    verdicts: tuple[RetentionDecision, ...]
    """The decision of its retention rule on every point, with the reason; empty if there is no rule at all."""
    condemned: Mapping[str, int] = field(repr=False)
    """Pack → size, of packs that nothing reaches, that are old enough, and that no plan condemns yet.

    A pack of size 0 does not exist. Only the index names it, and the sweep takes it out of there."""
    rewritten: Mapping[str, int] = field(repr=False)
    """Pack → reached bytes, which will be moved to a new pack. The rest of the pack is waste, or the pack is one of
    many small ones."""
    room: Mapping[str, int] = field(repr=False)
    """Pack → bytes of room that its move takes before it can be deleted, for packs that are rewritten."""
    swept: Mapping[str, int] = field(repr=False)
    """Pack → size, of packs that were condemned long enough ago. The sweep pardons those that something reaches after
    all."""
    waiting: int
    """Condemned packs that still have to wait."""
    packs: int
    """Number of all packs."""
    pack_bytes: int
    live_bytes: int
    """Bytes of frames that restore points reach."""
    lost_blocks: int
    """Blocks that restore points reach and that no pack has; 'vmkeep repo check' names them."""
    margins: Margins

    @property
    def forgotten(self) -> tuple[RetentionDecision, ...]:
        """The points that will be forgotten."""
        return tuple(verdict for verdict in self.verdicts if not verdict.keep)

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to do except to tidy up."""
        return not (self.forgotten or self.condemned or self.rewritten or self.swept)


def plan_prune(
    repository: Repository,
    rule: RetentionRule | None,
    *,
    margins: Margins,
    now: datetime,
    zone: tzinfo = UTC,
    policies: PolicyRules = NO_POLICIES,
    shown: bool = False,
) -> PrunePlan:
    """Find out which points and packs can go.

    :param rule: which points stay of VMs whose policy has no rule of its own; ``None``: all of them.
    :param now: the time for the rule and for pins. The age of packs goes by the store's clock.
    :param zone: time zone of the rule's days, weeks, months and years.
    :param policies: the rules of the policies that points may name.
    :param shown: the plan is only shown, so that a store that is read-only can be asked, too.
    :raises CorruptError: a manifest, a map page or an index segment cannot be read, or a point is gone although nobody
        forgot it. Then we do not know which packs are needed, so nothing may be deleted.
    """
    confirm_lists(repository.blobs)
    margins = margins.beside(repository.descriptor.lock)
    verdicts: tuple[RetentionDecision, ...] = ()
    time = time_for_plans(repository.blobs, shown=shown)
    if rule is not None or policies.any_rule:
        points = point_facts(repository, at=now, store_time=time)
        verdicts = tuple(decide_by_policy(points, rule, policies, now=now, zone=zone))
    forget = frozenset(verdict.point.ref for verdict in verdicts if not verdict.keep)
    plans = repository.sweep_records.plans()
    condemned = frozenset[bytes]().union(*(plan.packs for plan in plans))
    ripe = frozenset[bytes]().union(
        *(plan.packs for plan in plans if age(plan.written_at, time=time) >= margins.condemned_for)
    )
    reached = marked(repository, condemned, without=forget)
    live, framed, moved = reached.live(), reached.framed(), reached.moved()
    old = {pack: blob for pack, blob in reached.blobs.items() if age(blob.modified, time=time) >= margins.young_for}
    unreached = {pack for pack in old if pack not in live and (pack in framed or reached.complete)}
    missing = _missing(repository, reached) if reached.complete else set[bytes]()
    rewritten = {pack for pack in old if 0 < live.get(pack, 0) < (1 - margins.waste) * framed.get(pack, 0)}
    small = {pack for pack, blob in old.items() if blob.size < _SMALL and live.get(pack, 0) and pack not in condemned}
    if len(small) >= _MANY:
        rewritten |= small
    return PrunePlan(
        verdicts=verdicts,
        condemned={pack.hex(): old[pack].size for pack in sorted(unreached - condemned)}
        | {pack.hex(): 0 for pack in sorted(missing)},
        rewritten={pack.hex(): live[pack] for pack in sorted(rewritten)},
        room={pack.hex(): moved[pack] for pack in sorted(rewritten)},
        swept={pack.hex(): reached.blobs[pack].size for pack in sorted(ripe) if pack in reached.blobs},
        waiting=len((condemned - ripe) & reached.blobs.keys()),
        packs=len(reached.blobs),
        pack_bytes=sum(blob.size for blob in reached.blobs.values()),
        live_bytes=sum(live.values()),
        lost_blocks=reached.lost,
        margins=margins,
    )


def _missing(repository: Repository, reached: ReachedFrames) -> set[bytes]:
    """Return the packs that only the index names, and that no record tells others to avoid.

    A process that was killed after it had stood still for long may leave such entries.
    """
    named = reached.framed().keys() - reached.blobs.keys() - repository.sweep_records.avoided()
    return {pack for pack in named if not is_there(repository.blobs, pack_key(pack))}


def marked(
    repository: Repository,
    condemned: frozenset[bytes],
    *,
    candidates: frozenset[bytes] = frozenset(),
    others: frozenset[bytes] = frozenset(),
    gone: frozenset[bytes] = frozenset(),
    without: frozenset[str] = frozenset(),
) -> ReachedFrames:
    """Mark the frames that restore points reach, from what is stored now.

    Tries twice, because another prune may have deleted a pack after the index was loaded here. Tries again each time
    that points were forgotten meanwhile.

    :param candidates: packs that our own sweep may delete.
    :param others: packs that undecided sweeps of others may delete.
    :param gone: packs that decided sweeps delete.
    :param without: refs of points that do not count.
    :raises CorruptError: something on the way cannot be read.
    """

    def rank(pack: bytes) -> Rank:
        for packs, worth in ((gone, Rank.GONE), (candidates, Rank.CANDIDATE), (others, Rank.OTHERS)):
            if pack in packs:
                return worth
        return Rank.CONDEMNED if pack in condemned else Rank.CLEAR

    def attempt(*, last: bool) -> ReachedFrames | None:
        """Return what is reached; ``None`` if something is missing that may simply not be needed any more."""
        roots = Roots(repository, without=without)
        try:
            reached = ReachedFrames(repository, rank)
            roots.mark(reached)
        except CorruptError:
            if last and roots.stand():
                raise
            return None
        return reached if not reached.lost or (last and roots.stand()) else None

    found = attempt(last=False)
    while found is None:
        found = attempt(last=True)
    return found

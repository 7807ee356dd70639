"""Judges the rights of the backup user, by kind of run and by name, on the objects that there are.

A backup needs its rights on every VM, host and datastore. A restore to a new VM needs them on one folder, pool,
datastore and network that the person chooses, so that rights on some of them are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from vmkeep.flows.doctor.values import Answer, State, ok, unknown, warning
from vmkeep.model.purpose import PURPOSES, Purpose
from vmkeep.model.wording import counted_of
from vmkeep.vsphere.rights import On, rights_of
from vmkeep.vsphere.rightslook import HeldRights

_CHOSEN: Final = frozenset({On.FOLDER, On.POOL, On.NETWORK, On.DATASTORE, On.TARGET})
_NOT_ASKED: Final = frozenset({On.PROXY})
"""A proxy's own VM is known on the proxy alone; 'vmkeep vsphere check' asks for it."""
_REMEDY: Final = (
    "give the user a role with that: 'vmkeep setup role --plan' shows the difference, 'vmkeep setup role' makes it"
)
_SHOWN: Final = 5
NAMES: Final = tuple(f"rights for {word}" for word in PURPOSES)
RARE: Final = "rights for some VMs"


def judge(held: Mapping[On, HeldRights]) -> Iterator[tuple[str, Answer]]:
    """Yield the answer for each kind of run, by the name of its check, and one for rights that few VMs need. Pure."""
    for name, purpose in zip(NAMES, PURPOSES.values(), strict=True):
        yield name, _judge_purpose(purpose, held)
    yield RARE, _judge_rare(held)


def _judge_purpose(purpose: Purpose, held: Mapping[On, HeldRights]) -> Answer:
    needed: dict[On, list[str]] = {}
    for right in rights_of(purpose):
        if right.when is None and right.on not in _NOT_ASKED and right.on in held:
            needed.setdefault(right.on, []).append(right.privilege)
    nowhere, partly, unseen = [], [], []
    for on, names in needed.items():
        found = held[on]
        if not found.objects:
            unseen.append(str(on))
            continue
        without = [name for name, has in found.objects if not has.issuperset(names)]
        missing = [name for name in names if not all(name in has for _, has in found.objects)]
        if len(without) == len(found.objects):
            nowhere.append(f"{', '.join(missing)} on {_place(on, found)}")
        elif without and not (on in _CHOSEN or (on is On.HOME and purpose is Purpose.RESTORE_NEW)):
            partly.append(
                f"{', '.join(missing)} on {counted_of(len(without), len(found.objects), _noun(on))} "
                f"({_shortened(without)})"
            )
    return _answer(purpose, nowhere, partly, unseen, held)


def _answer(
    purpose: Purpose, nowhere: list[str], partly: list[str], unseen: list[str], held: Mapping[On, HeldRights]
) -> Answer:
    if nowhere:
        state = State.FAULT if purpose is Purpose.BACKUP else State.WARNING
        return Answer(state=state, text=f"the user lacks {'; '.join([*nowhere, *partly])}", remedy=_REMEDY)
    if partly:
        return warning(f"the user lacks {'; '.join(partly)}", _REMEDY)
    if unseen:
        return _unseen(unseen)
    sample = ""
    if (vms := held.get(On.VM)) is not None and len(vms.objects) < vms.there:
        sample = f"; {len(vms.objects):,} of {vms.there:,} VMs were asked about"
    return ok(f"the user has all of them{sample}")


def _unseen(kinds: Iterable[str]) -> Answer:
    return unknown(f"the user sees no {' and no '.join(kinds)}, so that no right on one could be asked for", _REMEDY)


def _judge_rare(held: Mapping[On, HeldRights]) -> Answer:
    """Return whether the rights are there that only some VMs or options need."""
    lacking: dict[str, set[str]] = {}
    unseen: dict[str, None] = {}
    for purpose in PURPOSES.values():
        for right in rights_of(purpose):
            if right.when is None or right.on in _NOT_ASKED or (found := held.get(right.on)) is None:
                continue
            if not found.objects:
                unseen[_noun(right.on)] = None
            elif not any(right.privilege in has for _, has in found.objects):
                lacking.setdefault(right.privilege, set()).add(str(right.when))
    if not lacking and unseen:
        return _unseen(unseen)
    if not lacking:
        return ok("the user has the rights that only some VMs or options need, too")
    told = "; ".join(f"{name} (if {' or '.join(sorted(when))})" for name, when in sorted(lacking.items()))
    return warning(f"the user lacks rights that only some VMs or options need: {told}", _REMEDY)


def _place(on: On, found: HeldRights) -> str:
    return str(on) if len(found.objects) == 1 else f"every {_noun(on)}"


def _noun(on: On) -> str:
    return {
        On.VM: "VM", On.TARGET: "VM", On.HOST: "host", On.BACKED_UP_HOST: "host", On.FOLDER: "VM folder",
        On.POOL: "resource pool", On.HOME: "datastore", On.DATASTORE: "datastore", On.NETWORK: "network",
    }.get(on, str(on))  # fmt: skip


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

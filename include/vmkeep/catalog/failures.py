"""Tells which checks of a VM have failed and were not passed since, whichever of its points they looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from vmkeep.lateclass import dataclass


class _Proof(Protocol):
    @property
    def ref(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def result(self) -> str: ...
    @property
    def at(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedFailure:
    """A kind of check that a VM has failed, with the point in which it failed last."""

    vm_key: str
    kind: str
    ref: str
    at: int
    """Seconds since 1970."""


def failures_of(proofs: Iterable[_Proof]) -> list[NotedFailure]:
    """Return the kinds of checks whose newest outcome for a VM is a failure.

    A newer point takes a failure back only if the same kind of check passes, because most points are never checked.
    An undecided outcome takes nothing back.
    """
    newest: dict[tuple[str, str], _Proof] = {}
    for proof in proofs:
        key = (proof.ref.rpartition("/")[0], proof.kind)
        known = newest.get(key)
        if proof.result != "undecided" and (known is None or _order(proof) > _order(known)):
            newest[key] = proof
    return [
        NotedFailure(vm_key=vm_key, kind=kind, ref=proof.ref, at=proof.at)
        for (vm_key, kind), proof in newest.items()
        if proof.result == "failed"
    ]


def _order(proof: _Proof) -> tuple[int, bool]:
    return proof.at, proof.result == "failed"

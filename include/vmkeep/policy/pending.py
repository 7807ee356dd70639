"""Lists the fields of a policy that the pipeline does not carry out yet, to be shown wherever the policy is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmkeep.policy.values import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A field that a policy uses, and the words for what is done instead."""

    field: str
    instead: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.field} is not carried out by this version: {self.instead}"


def not_yet(policy: Policy) -> tuple[Pending, ...]:
    """Return the fields that a policy uses and this version does not carry out."""
    return tuple(Pending(field=field, instead=instead) for field, instead in _used(policy))


def _used(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.copies:
        yield "repository.copies", "copy with 'vmkeep repo copy'"

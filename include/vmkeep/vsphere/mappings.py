"""Parses options ``OLD=NEW``, by which a person maps a part of a VM to its new place. Pure.

Names may hold equals signs, brackets and quotes, and are taken as they are. OLD has to be one of the known names, so
that its end is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vmkeep.errors import AmbiguousError, NotFoundError, UsageError


def take_apart(
    texts: Iterable[str], known: Collection[str], *, what: str, form: str, kind: str, candidates: str
) -> dict[str, str]:
    """Parse some options; return each NEW by its OLD.

    :param known: all names that OLD can have.
    :param what: the option's name, for messages: ``--network``.
    :param form: the form of its value, for messages: ``OLD=NEW``.
    :param kind: the kind of thing that OLD names, for messages: ``disk``.
    :param candidates: the known names in words, for messages.
    :raises UsageError: a text is no mapping, or two texts map one thing to two places.
    :raises NotFoundError: OLD is none of the known names.
    :raises AmbiguousError: a text can be read in two ways.
    """
    mapped: dict[str, str] = {}
    for text in texts:
        old, new = _split(text, known, what, form, kind, candidates)
        if mapped.setdefault(old, new) != new:
            raise UsageError(f"{what}: '{old}' is mapped to '{mapped[old]}' and to '{new}': choose one")
    return mapped


def _split(text: str, known: Collection[str], what: str, form: str, kind: str, candidates: str) -> tuple[str, str]:
    cuts = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "="]
    if not cuts:
        raise UsageError(f"{what} '{text}' has no '=': say {form}; {candidates}")
    found = [(old, new) for old, new in cuts if old in known]
    if not found:
        raise NotFoundError(f"{what} '{text}': the VM that was backed up has no {kind} '{cuts[0][0]}'; {candidates}")
    if len(found) > 1:
        readings = " or ".join(f"'{old}' to '{new}'" for old, new in found)
        raise AmbiguousError(
            f"{what} '{text}' can be read as {readings}: use the other name of the thing; {candidates}"
        )
    if not found[0][1]:
        raise UsageError(f"{what} '{text}': nothing stands after the '='")
    return found[0]

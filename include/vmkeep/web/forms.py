"""The fields of a form, with their choices and faults, and the values that a browser sends back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from vmkeep.lateclass import dataclass

Given = Mapping[str, Sequence[str]]
"""The values that a browser sent, by the name of their field. A box without a tick sends nothing."""


class FieldKind(StrEnum):
    """The way in which a field is filled in."""

    TEXT = "text"
    SELECT = "select"
    CHECKS = "checks"
    """Any number of the choices."""
    CHECK = "check"
    """A single box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A value that a field can have."""

    value: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a form."""

    name: str
    label: str
    kind: FieldKind
    hint: str = ""
    choices: tuple[Choice, ...] = ()
    """The values that it can have; of a text, those that are proposed."""
    values: tuple[str, ...] = ()
    """The values that it has now."""
    fault: str = ""
    """The reason why the value cannot be taken; empty: there is none."""
    longest: int = 200
    """Greatest number of characters of a text."""

    @property
    def value(self) -> str:
        """The first value; empty: there is none."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldGroup:
    """Fields that belong together."""

    title: str
    fields: tuple[Field, ...]


def text(
    name: str,
    label: str,
    hint: str = "",
    *,
    value: str = "",
    longest: int = 200,
    proposed: Iterable[tuple[str, str]] = (),
) -> Field:
    """Return a field for a text.

    :param proposed: values that can be picked instead of typed, and their words.
    """
    made = tuple(Choice(value=each, label=words) for each, words in proposed)
    values = (value,) if value else ()
    return Field(name=name, label=label, kind=FieldKind.TEXT, hint=hint, choices=made, values=values, longest=longest)


def select(name: str, label: str, choices: Iterable[tuple[str, str]], hint: str = "", *, value: str = "") -> Field:
    """Return a field with one of several values.

    :param choices: values and their words.
    """
    made = tuple(Choice(value=each, label=words) for each, words in choices)
    return Field(name=name, label=label, kind=FieldKind.SELECT, hint=hint, choices=made, values=(value,))


def checks(name: str, label: str, choices: Iterable[tuple[str, str]], hint: str = "") -> Field:
    """Return a field with any number of several values."""
    made = tuple(Choice(value=each, label=words) for each, words in choices)
    return Field(name=name, label=label, kind=FieldKind.CHECKS, hint=hint, choices=made)


def check(name: str, label: str, hint: str = "") -> Field:
    """Return a field with a single box."""
    return Field(name=name, label=label, kind=FieldKind.CHECK, hint=hint)


def filled(groups: Iterable[FieldGroup], given: Given) -> tuple[FieldGroup, ...]:
    """Return the fields with the values that a browser sent, each with its fault if it cannot have the value."""
    return tuple(replace(group, fields=tuple(_filled(each, given) for each in group.fields)) for group in groups)


def faults_of(groups: Iterable[FieldGroup]) -> tuple[str, ...]:
    """Return a sentence for each fault."""
    return tuple(f"{each.label}: {each.fault}" for group in groups for each in group.fields if each.fault)


def values_of(groups: Iterable[FieldGroup]) -> dict[str, tuple[str, ...]]:
    """Return the values of all fields by name."""
    return {each.name: each.values for group in groups for each in group.fields}


def with_fault(groups: Iterable[FieldGroup], name: str, fault: str) -> tuple[FieldGroup, ...]:
    """Return the fields, one of them with a fault."""
    return tuple(
        replace(group, fields=tuple(replace(each, fault=fault) if each.name == name else each for each in group.fields))
        for group in groups
    )


def _filled(field: Field, given: Given) -> Field:
    values = tuple(each.strip() for each in given.get(field.name, ()) if each.strip())
    match field.kind:
        case FieldKind.TEXT:
            too_long = f"it is longer than {field.longest} characters" if len("".join(values)) > field.longest else ""
            return replace(field, values=values[:1], fault=too_long)
        case FieldKind.CHECK:
            return replace(field, values=("yes",) if values else ())
        case FieldKind.SELECT:
            values = values[:1] or field.values
    known = {choice.value for choice in field.choices}
    strange = [each for each in values if each not in known]
    return replace(field, values=values, fault=f"'{strange[0]}' is not one of the choices any more" if strange else "")

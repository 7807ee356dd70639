"""Fields of a request in messages: written once, in a form that every front can turn into its own words.

A message that tells somebody to fill in a field is made far below the fronts, and is carried through logs, XComs and
plans as plain text. So it names the field by option and param, ``--new-name (Airflow: new_name)``, which is right to
read wherever nobody turns it into other words. The command line keeps the option, Airflow the param, and the pages of
the web view the label that stands at the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

_OF_ONE: Final = {
    "networks": "--network", "disk_datastores": "--disk-datastore", "luns": "--lun", "rdms": "--rdm",
    "vm_selector": "--vm",
}  # fmt: skip
"""The command line's options that are not called like their field: most of them are given once for each value."""
_NAMED: Final = re.compile(
    r"(?P<option>--[a-z-]+(?: (?:'[^']*'|[^\s'()]+))?) \(Airflow: (?P<name>[a-z_]+)"
    r"(?:; mapping: [^();]*)?"  # only in messages of earlier programs
    r"(?:; recovery plan: (?P<recovery>[^()]*))?\)"
)


def option_of(name: str) -> str:
    """Return the command line's option for a field of a request."""
    return _OF_ONE.get(name, f"--{name.replace('_', '-')}")


def named(name: str, value: str = "", *, recovery: str = "") -> str:
    """Return the words for a field of a request in a message: ``--new-name (Airflow: new_name)``.

    :param name: the field, which is also the name of the param in Airflow.
    :param value: the value to give it, without a quote or a parenthesis; empty: any.
    :param recovery: the field of a recovery plan that says the same; empty: none does.
    """
    shown = f" '{value}'" if re.search(r"[\s=]", value) else f" {value}" if value else ""
    elsewhere = f"; recovery plan: {recovery}" if recovery else ""
    return f"{option_of(name)}{shown} (Airflow: {name}{elsewhere})"


def fields_named(message: str) -> tuple[str, ...]:
    """Return the fields that a message names, in its order, each once."""
    return tuple(dict.fromkeys(found["name"] for found in _NAMED.finditer(message)))


def in_options(message: str) -> str:
    """Return a message that names fields by options of the command line: ``--new-name``."""
    return _NAMED.sub(lambda found: found["option"], message)


def in_params(message: str) -> str:
    """Return a message that names fields by params of Airflow's DAGs: ``new_name``, or ``undo: none`` with a value."""
    return _said(message, lambda name, value: f"{name}: {value}" if value else name)


def in_recovery(message: str) -> str:
    """Return a message that names fields by those of a recovery plan, or says that only a single restore has them."""

    def said(found: re.Match[str]) -> str:
        return f"'{found['recovery']}' of the plan" if found["recovery"] else f"{found['option']} of a single restore"

    return _NAMED.sub(said, message)


def in_mapping(message: str, fields: Mapping[str, str]) -> str:
    """Return a message that names fields by those of a mapping, because an option beside it has to agree with it.

    :param fields: fields of a mapping, by field of a request. Others are named as before.
    """

    def said(found: re.Match[str]) -> str:
        word = fields.get(found["name"])
        return found[0] if word is None else f"'{word}' in the mapping"

    return _NAMED.sub(said, message)


def in_labels(message: str, labels: Mapping[str, str], words: Mapping[str, Mapping[str, str]]) -> str:
    """Return a message that names fields by the labels of a form: ``“Name”``.

    :param labels: labels by field. A field that the form lacks is said to be one of the DAG's own form.
    :param words: plain words for the values that a field can have, by field and value. A field that is not here can
        have any value.
    """

    def said(name: str, value: str) -> str:
        choices = words.get(name, {value: value})
        if name not in labels or (value and value not in choices):
            return f"{name}{f': {value}' if value else ''} in the DAG's own form"
        return f"“{labels[name]}”{f' ({choices[value]})' if value else ''}"

    return _said(message, said)


def _said(message: str, words: Callable[[str, str], str]) -> str:
    def one(found: re.Match[str]) -> str:
        return words(found["name"], found["option"].partition(" ")[2].strip("'"))

    return _NAMED.sub(one, message)

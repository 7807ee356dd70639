"""Writes a mapping as a file that a person edits: every field, with a comment that tells what may stand there."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from vmkeep.documents import Path
from vmkeep.mapping.schema import MAPPING
from vmkeep.mapping.values import OF_THE_VM, CardLine, DiskLine, RestoreMapping

_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*(?:[ :][\w./-]+)*", re.ASCII)
"""A text that YAML reads as it stands, whatever word it is, apart from the words below."""
_BASIC = 0xFFFF
"""The last character that YAML writes with four digits."""
_NO_TEXTS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""Words that some reader of YAML takes for something else, in any case of letters."""


def write_mapping(mapping: RestoreMapping, *, about: Iterable[str]) -> str:
    """Return a mapping as YAML.

    :param about: sentences that tell where the mapping came from.
    """
    return "\n".join(_lines(mapping, about)) + "\n"


def _lines(mapping: RestoreMapping, about: Iterable[str]) -> Iterator[str]:
    for sentence in (*about, *_HOW):
        yield from _comment(sentence)
    for name in OF_THE_VM:
        yield ""
        yield from _described((name,))
        yield f"{name}: {_value(getattr(mapping, name))}"
    yield ""
    yield from _described(("disks",))
    with_rdm = any(disk.rdm is not None for disk in mapping.disks)
    for name in ("datastore", *(("rdm", "lun") if with_rdm else ())):
        yield from _comment(f"{name}: {_description(('disks', 0, name))}")
    yield "disks:" if mapping.disks else "disks: []"
    for disk in mapping.disks:
        yield from _item(_disk_fields(disk), disk.about)
    yield ""
    yield from _described(("networks",))
    yield from _comment(f"network: {_description(('networks', 0, 'network'))}")
    yield "networks:" if mapping.networks else "networks: []"
    for card in mapping.networks:
        yield from _item(_card_fields(card), card.about)


_HOW = (
    "Unedited, this file restores the VM as it was. Change what has to be elsewhere, then give the file back:",
    "  vmkeep restore run POINT --mapping FILE",
    "A field that is left out or null does as a restore without the file.",
    "'vmkeep target folders', 'pools', 'datastores', 'networks', 'hosts' and 'luns' list what there is.",
)


def _disk_fields(line: DiskLine) -> dict[str, Any]:
    fields: dict[str, Any] = {"disk": line.disk, "datastore": line.datastore}
    return fields | ({"rdm": line.rdm, "lun": line.lun} if line.rdm is not None else {})


def _card_fields(line: CardLine) -> dict[str, Any]:
    return {"card": line.card, "network": line.network}


def _item(fields: dict[str, Any], about: str) -> Iterator[str]:
    first, *others = fields
    yield f"  - {first}: {_value(fields[first])}" + (f"  # {_one_line(about)}" if about else "")
    for name in others:
        yield f"    {name}: {_value(fields[name])}"


def _described(path: Path) -> Iterator[str]:
    yield from _comment(_description(path))


def _description(path: Path) -> str:
    return str(MAPPING.field_of(path)["description"])


def _comment(sentence: str) -> Iterator[str]:
    indent = len(sentence) - len(sentence.lstrip())
    lines = textwrap.wrap(_one_line(sentence), _WIDTH, break_long_words=False, break_on_hyphens=False)
    yield from (f"# {' ' * indent}{line}" for line in lines)


def _one_line(text: str) -> str:
    """Return a text in which nothing can end a comment."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _value(value: str | bool | None) -> str:
    """Return a value as YAML reads it again. A text that YAML could take for something else stands in quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _NO_TEXTS:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    """Return a character inside double quotes, as an escape if it cannot be seen or YAML takes it for a line's end."""
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= _BASIC else f"\\U{ord(character):08x}"

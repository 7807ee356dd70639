"""VM names as lists print them and as people type them. Any command takes a name in the form that a list prints.

A name that could be misread in a line, or mistaken for another selector, is printed as ``name:"…"``, quoted as in JSON.
A shell removes the quotes and a script may keep them, so both forms are understood. Only this module knows the forms.
"""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

PREFIX = "name:"
KINDS = ("name", "uuid", "moref", "ipaddr")
"""The kinds of selector; each stands before a colon, as in ``moref:vm-16``."""
_MISREAD = re.compile(rf"[\"/-]|(?:{'|'.join(KINDS)}|latest):|latest\Z|\s|.*(?:\s\Z|\s\s)", re.DOTALL)


def shown_name(name: str) -> str:
    """Return a VM's name for a table: unchanged if no command can mistake it, or else in the form ``name:"…"``."""
    if name and name.isprintable() and not _MISREAD.match(name):
        return name
    return f'{PREFIX}"{"".join(map(_quoted, name))}"'


def _quoted(character: str) -> str:
    return json.dumps(character, ensure_ascii=not character.isprintable())[1:-1]


def names_meant(text: str) -> tuple[str, ...]:
    """Return every name that a person may mean by a text: the text itself, and the part after ``name:``.

    The text itself is included because a VM may really be called ``name:web01``. If another VM is called web01, the
    selector is ambiguous, and the person has to choose.
    """
    if not text.startswith(PREFIX):
        return (text,)
    behind = text.removeprefix(PREFIX)
    return tuple(dict.fromkeys(name for name in (text, behind, _unquoted(behind)) if name))


def _unquoted(text: str) -> str | None:
    if len(text) < 3 or not (text.startswith('"') and text.endswith('"')):
        return None
    try:
        name = json.loads(text)
    except ValueError:
        return None
    return name if isinstance(name, str) else None


def decode_name(name: str) -> str:
    """Return a name as a person types it. vSphere stores slash, backslash and percent as ``%2f``, ``%5c``, ``%25``."""
    return re.sub(r"%(2f|5c|25)", lambda found: unquote(found[0]), name, flags=re.IGNORECASE)


def same_path(typed: str, found: str) -> bool:
    """Return whether a typed inventory path is the path of the object that vSphere found for it.

    A slash inside a name is typed as ``%2f``, as vSphere stores it. A percent sign or backslash may be typed as it is.
    A server's look-up may be more tolerant than that, so the path of the object that it found is compared.
    """
    return [decode_name(part) for part in typed.split("/")] == [decode_name(part) for part in found.split("/")]


def shown_path(path: str) -> str:
    """Return a VM's inventory path as vSphere's clients show it: without its datacenter's folder ``vm``."""
    parts = path.split("/")
    hidden = next((at for at, part in enumerate(parts) if part == "vm" and at > 1), None)
    return path if hidden is None else "/".join((*parts[:hidden], *parts[hidden + 1 :]))


def path_meant(text: str) -> str | None:
    """Return the inventory path that a person may mean by a text; ``None``: the text is not a path."""
    path = text.removeprefix(PREFIX)
    return path if path.startswith("/") else None

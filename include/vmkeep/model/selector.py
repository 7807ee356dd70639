"""Names as they are listed and as they are typed: every name that is printed can be given back to any command.

A name that could not be read off a line, or would be taken for something else, is printed as ``name:"…"``, in JSON's
quotes. A shell takes the quotes off, a script may leave them on: both are understood, here alone.
"""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

PREFIX = "name:"
KINDS = ("name", "uuid", "moref", "ipaddr")
"""Words that say, before a colon, by what a VM is selected."""
_MISREAD = re.compile(rf"[\"/-]|(?:{'|'.join(KINDS)}|latest):|latest\Z|\s|.*(?:\s\Z|\s\s)", re.DOTALL)


def shown_name(name: str) -> str:
    """Return a VM's name as a table prints it: as it is, or in a form that a command takes for nothing else."""
    if name and name.isprintable() and not _MISREAD.match(name):
        return name
    return f'{PREFIX}"{"".join(map(_quoted, name))}"'


def _quoted(character: str) -> str:
    return json.dumps(character, ensure_ascii=not character.isprintable())[1:-1]


def names_meant(text: str) -> tuple[str, ...]:
    """Return every name that a person may mean by a text: the text itself, and what stands behind ``name:``.

    A VM may really be called ``name:web01``. Who has such a VM, and another one called web01, is asked which he means.
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
    """Return a name as a person typed it; vSphere stores slash, backslash and percent as ``%2f``, ``%5c``, ``%25``."""
    return re.sub(r"%(2f|5c|25)", lambda found: unquote(found[0]), name, flags=re.IGNORECASE)


def same_path(typed: str, found: str) -> bool:
    """Return whether a typed inventory path is the path of the object that vSphere found for it.

    Between slashes, a path is written as vSphere stores it (a slash in a name is ``%2f``), or with a lone percent sign
    or backslash as typed. How forgiving a server's own look-up is, is not known; so its answer is compared.
    """
    return [decode_name(part) for part in typed.split("/")] == [decode_name(part) for part in found.split("/")]


def path_meant(text: str) -> str | None:
    """Return the inventory path that a text can stand for, as well as for a name."""
    path = text.removeprefix(PREFIX)
    return path if path.startswith("/") else None

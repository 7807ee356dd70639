"""Writes XML that stays well-formed, whatever a machine is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from xml.sax.saxutils import escape, quoteattr

from vmkeep.lateclass import dataclass

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Return a text without the characters that XML 1.0 cannot hold; each becomes a replacement character."""
    return _FORBIDDEN.sub("\ufffd", text)


@dataclass(frozen=True, slots=True)
class Element:
    """An element with its attributes, and with children or a text."""

    tag: str
    attributes: Mapping[str, object] = field(default_factory=dict)
    content: tuple[Element, ...] | str = ()

    def render(self, indent: str = "") -> str:
        """Return the element as lines, which end with a line feed. Names are written as they are, values escaped."""
        head = "".join(f" {name}={_quoted(value)}" for name, value in self.attributes.items())
        if not self.content:
            return f"{indent}<{self.tag}{head}/>\n"
        if isinstance(self.content, str):
            return f"{indent}<{self.tag}{head}>{escape(clean(self.content), {chr(13): '&#13;'})}</{self.tag}>\n"
        inside = "".join(child.render(indent + "  ") for child in self.content)
        return f"{indent}<{self.tag}{head}>\n{inside}{indent}</{self.tag}>\n"


def _quoted(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return quoteattr(clean(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def comment(text: str) -> str:
    """Return a comment of one or more lines."""
    safe = re.sub("-(?=-)", "- ", clean(text))
    return "<!--\n" + "".join(f"  {line}\n" for line in safe.splitlines()) + "-->\n"

"""Fills the templates of pages, and holds the files that pages load.

Every value is escaped where a template shows it. A template that names a value that its page lacks is an error, and no
empty place.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from vmkeep.lateclass import dataclass
from vmkeep.web.words import plain, shown_size


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file that pages load."""

    name: str
    media_type: str

    def content(self) -> bytes:
        """Read the file."""
        return (files("vmkeep.web") / "static" / self.name).read_bytes()


STATIC: Final = {
    each.name: each
    for each in (
        StaticFile(name="vmkeep.css", media_type="text/css; charset=utf-8"),
        StaticFile(name="frame.js", media_type="text/javascript; charset=utf-8"),
        StaticFile(name="live.js", media_type="text/javascript; charset=utf-8"),
        StaticFile(name="icon.svg", media_type="image/svg+xml"),
        StaticFile(name="icon-dark.svg", media_type="image/svg+xml"),
    )
}
"""The files by name. No other file of the folder is given to anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The facts about a call that every page needs."""

    root: str
    """Path of the web view, without a slash at its end, e.g. ``/vmkeep``."""
    airflow: str
    """Path of Airflow's own pages, without a slash at its end; mostly empty."""
    user: str
    may_operate: bool
    """Whether the user may start backups and restores, and so see the content of guests."""
    may_audit: bool = False
    """Whether the user may see who did what."""


def render(template: str, frame: Frame, **values: Any) -> str:
    """Return a page.

    :param template: file name of the template.
    :param values: the names that the template uses.
    """
    return _environment().get_template(template).render(frame=frame, **values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("vmkeep.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["plain"] = plain
    made.filters["size"] = shown_size
    made.filters["segment"] = lambda text: quote(text, safe="")
    return made

"""A report as one page of HTML that loads nothing: no script, no picture, no font, no style from elsewhere. Pure.

Every text is escaped, because names come from vSphere. States are told by words, not by colour alone, and each table
has a caption and headings, so that a screen reader tells the same as a screen.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from html import escape
from typing import Final

from vmkeep.flows.reports.values import BAD, GOOD, OPEN, Kind, Report, Table, Value, shown

_STYLE: Final = """
:root{color-scheme:light dark;--line:#d0d7de;--head:#f6f8fa;--good:#116329;--bad:#a40e26;--open:#7d4e00;--small:#57606a}
@media(prefers-color-scheme:dark){:root{--line:#3d444d;--head:#151b23;--good:#4ac26b;--bad:#ff7b72;--open:#e3b341;
--small:#9198a1}}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;margin:.6rem 0 1.6rem}
caption{text-align:left;font-size:1.25rem;font-weight:600;padding:.6rem 0}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
thead th{background:var(--head);white-space:nowrap}.number{text-align:right;font-variant-numeric:tabular-nums;
white-space:nowrap}
.facts{width:auto}.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.open{color:var(--open)}small,.notes{color:var(--small)}
@media print{body{margin:0;max-width:none;font-size:11px}}
""".replace("\n", "")
_RIGHT: Final = frozenset({Kind.NUMBER, Kind.BYTES, Kind.SECONDS, Kind.SHARE})


def html_page(report: Report, zone: tzinfo) -> str:
    """Return a report as a page.

    :param zone: the time zone in which times are shown.
    """
    title = escape(_plain(report.title))
    made = escape(f"{shown(report.at, Kind.TIME, zone)} {zone}")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{_STYLE}</style></head>",
        f"<body><main><h1>{title}</h1><p><small>Made {made}; times are in {escape(str(zone))}</small></p>",
        _facts(report.facts),
        *(_table(table, zone) for table in report.tables),
        _notes(report.notes),
        "</main></body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in facts)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _table(table: Table, zone: tzinfo) -> str:
    caption = f"<caption>{_text(table.title)}</caption>"
    if not table.rows:
        return f'<div class="wide"><table>{caption}<tbody><tr><td>None.</td></tr></tbody></table></div>'
    head = "".join(_heading(name, kind) for name, kind in table.columns)
    kinds = [kind for _, kind in table.columns]
    body = "".join(
        f"<tr>{''.join(_cell(cell, kind, zone) for cell, kind in zip(row, kinds, strict=True))}</tr>"
        for row in table.rows
    )
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _heading(name: str, kind: Kind) -> str:
    side = ' class="number"' if kind in _RIGHT else ""
    return f'<th scope="col"{side}>{_text(name)}</th>'


def _cell(value: Value, kind: Kind, zone: tzinfo) -> str:
    text = _text(shown(value, kind, zone))
    if kind is Kind.STATE and (word := text.partition(":")[0]) in (GOOD, BAD, OPEN):
        return f'<td class="{word}">{text}</td>'
    return f'<td class="number">{text}</td>' if kind in _RIGHT else f"<td>{text}</td>"


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<h2>Limits of this report</h2><ul class="notes">{items}</ul>' if items else ""


def _text(text: str) -> str:
    return escape(_plain(text))


def _plain(text: str) -> str:
    """Return a text without control characters and without marks that turn the writing round."""
    return "".join(each if each.isprintable() else "�" for each in text)

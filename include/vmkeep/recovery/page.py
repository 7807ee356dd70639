"""The report as one page of HTML that needs nothing else: no script, no picture, no font from elsewhere. Pure.

Pictures of consoles stand in the page itself.

Every text is escaped, because names come from vSphere, and errors from any server.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape

from vmkeep.model.wording import age, counted, size
from vmkeep.recovery.reporting import RecoveryReport, VmOutcome

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;width:100%;margin:.6rem 0 1.6rem}th,td{text-align:left;padding:.35rem .6rem;
border-bottom:1px solid #d0d7de;vertical-align:top}th{background:#f6f8fa}h2{margin-top:2rem}
.healthy{color:#116329;font-weight:600}.failed,.unhealthy{color:#a40e26;font-weight:600}
.waiting,.begun,.restored,.off{color:#7d4e00;font-weight:600}small{color:#57606a}
img{max-width:22rem;border:1px solid #d0d7de;display:block}ul{margin:.2rem 0;padding-left:1.1rem}
""".replace("\n", "")


def page(report: RecoveryReport, pictures: Mapping[str, bytes] | None = None) -> str:
    """Return the report as a page.

    :param pictures: the pictures of consoles (PNG), by the names that the report has for them.
    """
    kind = "Drill" if report.drill else "Recovery"
    title = f"{kind} {report.plan}, run {report.run}"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>',
        f"<body><h1>{escape(title)}</h1>",
        _paragraph(report.description),
        _summary(report),
        *(_group(report, name, pictures or {}) for name in report.groups),
        _notes(report.notes),
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _summary(report: RecoveryReport) -> str:
    rows = (
        ("Result", report.result(report.vms)),
        ("Restored to", report.vcenter),
        ("Began", _moment(report.began)),
        ("Ended", _moment(report.ended) if report.ended else "interrupted: it can go on"),
        ("Data counted from", _moment(report.lost_at)),
        ("Oldest data (RPO reached)", _span(report.rpo(report.vms))),
        ("Last VM healthy after (RTO reached)", _span(report.rto(report.vms))),
    )
    return _table((), ((f"<b>{escape(name)}</b>", escape(value)) for name, value in rows))


def _group(report: RecoveryReport, name: str, pictures: Mapping[str, bytes]) -> str:
    vms = report.of(name)
    told = f"{report.result(vms)}, RPO {_span(report.rpo(vms))}, RTO {_span(report.rto(vms))}"
    headings = ("VM", "State", "Restore point", "RPO", "RTO", "Evidence")
    return f"<h2>{escape(name)}</h2><p>{escape(told)}</p>" + _table(
        headings, (_row(report, vm, pictures.get(vm.picture)) for vm in vms)
    )


def _row(report: RecoveryReport, vm: VmOutcome, picture: bytes | None) -> tuple[str, ...]:
    written = f"{_moment(vm.taken_at)}, {size(vm.bytes_written)} written"
    renamed = f"<br><small>as {escape(vm.new_name)} {escape(vm.moref or '')}</small>"
    state = f'<span class="{escape(vm.state)}">{escape(vm.state)}</span>'
    if vm.removed:
        state += "<br><small>removed after the drill</small>"
    told = [
        f"{'✓' if probe.succeeded else '✗'} {probe.probe}: {probe.told} ({_moment(probe.at)})" for probe in vm.probes
    ]
    told += [vm.error] if vm.error else []
    told += [f"warning: {warning}" for warning in (*vm.stepped_back, *vm.warnings)]
    return (
        f"{escape(vm.vm_name)}{renamed}",
        state,
        f"{escape(vm.point)}<br><small>{escape(written)}</small>",
        escape(_span(report.rpo((vm,)))),
        escape(_span(report.rto((vm,)))),
        _list(told) + (_picture(picture, vm) if picture is not None else ""),
    )


def _picture(data: bytes, vm: VmOutcome) -> str:
    shown = base64.b64encode(data).decode()
    return f'<img src="data:image/png;base64,{shown}" alt="console of {escape(vm.new_name)}">'


def _notes(notes: Iterable[str]) -> str:
    listed = _list(notes)
    return f"<h2>Notes</h2>{listed}" if listed else ""


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _table(headings: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table. The cells are HTML already."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "not reached"
    return counted(round(seconds), "second") if seconds < 120 else age(seconds)

"""The report as one page of HTML that loads nothing: no script, no picture, no font, no style from elsewhere. Pure.

Every text is escaped, because names come from vSphere, and errors from any server. States are told by words, not by
colour alone, and tables have headings, so that a screen reader tells the same as a screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from vmkeep.model.wording import agreeing, counted
from vmkeep.quality.values import Finding, Judgement, QualityReport

_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%;margin:.6rem 0 1.6rem}th,td{text-align:left;padding:.35rem .6rem;
border-bottom:1px solid #d0d7de;vertical-align:top}th{background:#f6f8fa}h2{margin-top:2rem}a{color:#0550ae}
.met{color:#116329;font-weight:600}.failed,.failure{color:#a40e26;font-weight:600}
.warned,.warning,.not,.undecided{color:#7d4e00;font-weight:600}
small{color:#57606a}dt{font-weight:600}dd{margin:0 0 .4rem}
""".replace("\n", "")
_SENTENCE: Final = {
    "failed": "The check failed: a failure was found.",
    "undecided": "Not everything could be looked at, so that nobody knows whether all is as expected.",
    "not looked at": "There was nothing to look at.",
    "warned": "The check did not fail, and somebody should look at its warnings.",
    "met": "Everything that was looked at is as expected.",
}


def page(report: QualityReport) -> str:
    """Return the report as a page."""
    title = f"Data quality of {report.location}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>",
        f"<body><main><h1>{escape(title)}</h1>",
        f'<p class="{report.result.split()[0]}">{escape(_SENTENCE[report.result])}</p>',
        _facts(report),
        _listed("Could not be looked at", report.gaps),
        _listed("Limits of this check", report.notes),
        _overview(report.judgements),
        *(_section(one) for one in report.judgements if one.found),
        "</main></body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _facts(report: QualityReport) -> str:
    rows = (
        ("Checked at", report.at.strftime("%Y-%m-%d %H:%M:%S %Z")),
        ("Took", counted(round(report.seconds), "second")),
        ("Restore points", f"{counted(report.points, 'point')} of {counted(report.vms, 'VM')} with a good one"),
        ("Read again", counted(report.sampled, "manifest")),
        ("Policies", ", ".join(report.policies) or "none were given"),
        ("vCenters asked", ", ".join(report.vcenters) or "none"),
        ("Check", report.check),
    )
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<table>{body}</table>"


def _listed(title: str, sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _overview(judgements: Iterable[Judgement]) -> str:
    rows = "".join(
        f'<tr><td class="{one.result.split()[0]}">{escape(one.result)}</td><td>{_linked(one)}'
        f"{_small(one.skipped or one.gap)}</td><td>{one.found:,}</td></tr>"
        for one in judgements
    )
    head = _heading(("Result", "Expectation", "Findings"))
    return f"<h2>Expectations</h2><table>{head}<tbody>{rows}</tbody></table>"


def _linked(one: Judgement) -> str:
    return f'<a href="#{escape(one.id)}">{escape(one.title)}</a>' if one.found else escape(one.title)


def _section(one: Judgement) -> str:
    shown = len(one.findings)
    more = one.found - shown
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(each)) + "</tr>" for each in one.findings)
    rest = f"<p>And {more:,} more {agreeing(more, 'finding', 'findings')}.</p>" if more else ""
    head = _heading(("Severity", "VM", "Policy", "Finding"))
    return (
        f'<h2 id="{escape(one.id)}">{escape(one.title)}</h2>'
        f"<dl><dt>What it means</dt><dd>{escape(one.meaning)}</dd>"
        f"<dt>What to do</dt><dd>{escape(one.remedy)}</dd></dl>"
        f"<table>{head}<tbody>{rows}</tbody></table>{rest}"
    )


def _cells(finding: Finding) -> Iterator[str]:
    yield f'<span class="{finding.severity}">{finding.severity}</span>'
    yield escape(finding.shown) + _small(finding.disk)
    yield escape(finding.policy)
    yield escape(finding.text) + _small(finding.point)


def _small(text: str | None) -> str:
    return f"<br><small>{escape(text)}</small>" if text else ""


def _heading(names: Iterable[str]) -> str:
    return "<thead><tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in names) + "</tr></thead>"

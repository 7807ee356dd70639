"""Makes a proof of a malware scan, and reads the facts in it by which points are judged.

The facts are fields of the proof, so that they stay whatever becomes of its details. Earlier programs kept them in the
details, of which the largest are left out beyond a MiB. They are kept there, too, for those programs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from vmkeep.clock import now
from vmkeep.model.job import to_plain
from vmkeep.model.proofs import PointProof, ProofKind
from vmkeep.model.scanfacts import ScanFacts, ScannerFacts, ScanScope
from vmkeep.model.scanning import ScannedPoint

_FOUND_IN: Final = "found_in"


def proof_of(
    scanned: ScannedPoint, *, chain: tuple[str, ...], whole_at: datetime | None, by: str, run: str
) -> PointProof:
    """Return the proof of a scan that has just ended.

    :param chain: the clean older points on which it stands, the newest first.
    :param whole_at: the time of the scan of all files under those.
    :param by: the person or the DAG that asked for it.
    :param run: the run for which it was; empty: for none.
    """
    at = now()
    facts = ScanFacts(
        scope=scanned.scope,
        scanners=scanned.scanners,
        finders=scanned.finders,
        chain=chain,
        whole_at=at if scanned.scope is ScanScope.WHOLE else whole_at,
        left=scanned.left + scanned.left_before,
    )
    details: dict[str, Any] = to_plain(scanned)
    for name in ("point", "vm", "taken_at"):
        details.pop(name)
    plain = to_plain(facts)
    details |= {"chain": plain["chain"], "whole_at": plain["whole_at"]}
    return PointProof(
        kind=ProofKind.MALWARE,
        result=scanned.result,
        at=at,
        run=run,
        by=by,
        text=scanned.line,
        details=details,
        scan=facts,
        series=_series(scanned),
    )


def passed_on(find: PointProof) -> PointProof:
    """Return the proof of a find for another point, which may share the file with the point of the find."""
    return replace(
        find,
        text=f"it may share files with {find.point}: {find.text}",
        details=find.details | {_FOUND_IN: find.point},
        scan=replace(facts_of(find), found_in=find.point),
        series=f"{find.series}\nfound in {find.point}",  # so that it pushes out no find of the point's own
        files={},
    )


def facts_of(proof: PointProof) -> ScanFacts:
    """Return the facts of a scan. Proofs of earlier programs tell them in their details, or have lost some."""
    return proof.scan if proof.scan is not None else _facts_in(proof.details)


def _series(scanned: ScannedPoint) -> str:
    """Return the scope and the scanners of a scan, which stands for no scan by others, or of more files."""
    scanners = sorted(f"{scanner.name} {scanner.rules}" for scanner in scanned.scanners)
    return "\n".join([scanned.scope, *scanned.finders, *scanners])


def _facts_in(details: dict[str, Any]) -> ScanFacts:
    scope, found_in = details.get("scope"), details.get(_FOUND_IN)
    return ScanFacts(
        scope=ScanScope(scope) if scope in set(ScanScope) else None,
        scanners=tuple(map(_scanner, _dicts(details, "scanners"))),
        finders=_finders(details),
        chain=_texts(details, "chain"),
        whole_at=_time(details.get("whole_at")),
        left=sum(int(volume.get("unscanned") or 0) for volume in _dicts(details, "volumes"))
        + int(details.get("left_before") or 0),
        found_in=None if found_in is None else str(found_in),
    )


def _finders(details: dict[str, Any]) -> tuple[str, ...]:
    """Return the scanners that found something. The first programs told them by their first hundred finds only."""
    if isinstance(details.get("finders"), list):
        return _texts(details, "finders")
    return tuple(dict.fromkeys(str(each.get("scanner")) for each in _dicts(details, "findings")))


def _scanner(facts: dict[str, Any]) -> ScannerFacts:
    return ScannerFacts(
        name=str(facts.get("name")),
        version=str(facts.get("version", "")),
        signatures=str(facts.get("signatures", "")),
        signatures_at=_time(facts.get("signatures_at")),
        rules=str(facts.get("rules", "")),
    )


def _dicts(details: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [each for each in details.get(name) or () if isinstance(each, dict)]


def _texts(details: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = details.get(name)
    return tuple(map(str, texts)) if isinstance(texts, list) else ()


def _time(text: object) -> datetime | None:
    """Return an aware time; ``None``: the text is none."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None

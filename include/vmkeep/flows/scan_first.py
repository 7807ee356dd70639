"""Scans a point for malware before it is restored. The plan of the restore then holds to the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.flows.malware import OnVolume, ScannerPlaces, ScanWish, open_point_scanner
from vmkeep.flows.restore_plan import plan_restore
from vmkeep.flows.restore_request import RestoreRequest
from vmkeep.model.scanning import ScanFirst
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository


def scan_first(
    site: Site,
    request: RestoreRequest,
    places: ScannerPlaces,
    *,
    on_progress: OnVolume,
    tell: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
    by: str,
    has_ended: HasEnded = nobody_knows,
) -> RestoreRequest:
    """Scan all files of the point that a request restores, if it asks for that.

    The restore is planned once before, so that one which cannot be done fails now, and not after hours of scanning.

    :param tell: takes a line about the outcome.
    :param has_ended: tells whether the owner of another restore has ended; ``None``: the owner is not known.
    :returns: the request, for the very point that was scanned, with the outcome. The plan then holds to it, also if it
        is not kept with the point.
    """
    if request.scan is ScanFirst.NO:
        return request
    preview = plan_restore(site, replace(request, scan=ScanFirst.NO, dry_run=True), has_ended=has_ended)
    if preview.nothing_to_do:
        return request
    with (
        open_site_repository(site) as repository,
        open_point_scanner(repository, places, check=check, by=by, run=request.run) as scanner,
    ):
        scanned = scanner.scan(request.point, ScanWish(), on_progress=on_progress)
    tell(f"{scanned.point}: {scanned.line}")
    return replace(request, point=scanned.point, scanned=scanned.outcome)

"""A scan is called good only if something was looked at, and nothing was passed over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkeep.model.proofs import ProofResult
from vmkeep.model.scanfacts import ScanScope
from vmkeep.model.scanning import ScannedPoint, ScannedVolume

GOOD = ScannedVolume(name="disk0p1", kind="ext4", files=10)


@pytest.mark.parametrize(
    ("volumes", "result"),
    [
        ([GOOD], ProofResult.PASSED),
        ([], ProofResult.UNDECIDED),
        ([GOOD, ScannedVolume(name="disk1", kind="luks", problem="it is encrypted")], ProofResult.UNDECIDED),
        ([ScannedVolume(name="disk0", kind="ntfs", files=1, unscanned=2)], ProofResult.UNDECIDED),
        ([GOOD, ScannedVolume(name="disk1", kind="ext4", files=9, found=1, problem="cut")], ProofResult.FAILED),
    ],
)
def test_a_scan_passes_only_if_all_volumes_were_seen(volumes, result):
    point = ScannedPoint(
        point="vm/p", vm="web", taken_at=datetime(2026, 5, 4, tzinfo=UTC), scope=ScanScope.WHOLE, scanners=(),
        volumes=tuple(volumes),
    )  # fmt: skip

    assert point.result is result

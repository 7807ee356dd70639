"""The mode and the quiescing of a backup: asked, used and reached are in the point; a failure leaves nothing behind."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tests.integration.flows.restoring import back_up
from vmkeep.cli.main import cli
from vmkeep.errors import QuiesceFailedError
from vmkeep.flows import quiescing
from vmkeep.flows.pointlist import list_points
from vmkeep.model.point import Consistency, Quiesce
from vmkeep.repository import open_repository


@pytest.fixture(autouse=True)
def quick(monkeypatch, lab):
    """Wait for no busy guest, and leave no planned fault behind."""
    monkeypatch.setattr(quiescing, "PAUSE_SECONDS", 0.0)
    yield
    lab.clear()


def busy(lab, times):
    lab.fault(method="CreateSnapshot_Task", fault="ApplicationQuiesceFault", count=times)


def load(site, ref):
    with open_repository(site.repository) as repository:
        return repository.load_point(ref)


def test_a_guest_that_is_busy_twice_is_quiesced_at_the_third_try(bench):
    busy(bench.lab, 2)

    sealed = back_up(bench.site, "web01", quiesce_required=True)

    point = load(bench.site, sealed.point)
    assert (point.quiesce_required, point.quiesce_used, point.changes) == (True, Quiesce.FILE_SYSTEM, ())
    assert point.consistency is Consistency.FILE_SYSTEM
    assert (sealed.quiesce_asked, sealed.quiesce_used, sealed.consistency) == ("required", "file-system", "file-system")


def test_required_quiescing_that_fails_leaves_no_snapshot_no_hold_and_no_point(bench):
    busy(bench.lab, 3)

    with pytest.raises(QuiesceFailedError, match="required, and failed 3 times"):
        back_up(bench.site, "web01", quiesce_required=True)

    assert bench.snapshots("web01") == []
    assert bench.lab.vm("web01")["held_by"] == []
    with open_repository(bench.site.repository) as repository:
        assert list_points(repository, catalog="sqlite://").entries == ()


def test_preferred_quiescing_that_fails_is_data_in_the_point_and_shown(bench):
    busy(bench.lab, 3)

    sealed = back_up(bench.site, "web01")

    (change,) = load(bench.site, sealed.point).changes
    assert (change.reason, change.asked, change.used) == ("quiescing-failed", "file-system", "none")
    assert sealed.changes == (change,)
    shown = CliRunner().invoke(cli, ["point", "show", sealed.point, "--repository", bench.site.repository])
    assert "crash; quiesce asked preferred, used none" in shown.output
    assert "changed       quiesce file-system changed to none: quiescing failed 3 times" in shown.output

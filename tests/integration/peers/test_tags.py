"""Tags: govmomi's client makes them, in our lab and in its own simulator, and the engine finds the VMs with them."""

from __future__ import annotations

import pytest

from tests.integration.peers.conftest import Govclient
from vmkeep.errors import UnsupportedError
from vmkeep.model.site import VCenter
from vmkeep.selection import parse_selector
from vmkeep.vsphere.choosing import choose_vms
from vmkeep.vsphere.session import open_session

pytestmark = pytest.mark.slow


def names(session, text):
    return [record.name for record in choose_vms(session, parse_selector(text), ()).records]


def test_tags_that_another_client_makes_in_the_lab_are_found_in_both_dialects(client, lab):
    client("tag.attach", "backup", "gold", "web01")
    client("tag.attach", "backup", "gold", "db01")
    client("tag.attach", "site/zone", "north south", "web01")
    vcenter = VCenter(
        host=lab.host, port=lab.port, user=lab.user, password=lab.password, thumbprint=lab.info["thumbprint"]
    )

    for newer in (True, False):
        lab.settings(has_new_automation=newer)
        with open_session(vcenter) as session:
            assert names(session, "tag:backup/gold") == ["db01", "web01"]
            assert names(session, "tag:backup/gold and not tag:'site%2fzone/north*'") == ["db01"]
            assert names(session, "tag:backup/silver") == []


def test_tags_of_an_independent_vcenter_are_found_and_a_lone_esxi_host_has_none(vcsim, session, programs):
    known = vcsim.vcenter
    other = Govclient(
        programs / "govclient", f"https://{known.host}:{known.port}/sdk", known.user, known.password, known.thumbprint
    )
    if not session.is_vcenter:
        with pytest.raises(UnsupportedError, match="knows no tags"):
            names(session, "tag:backup/gold")
        return
    other("tag.attach", "backup", "gold", vcsim.guest)

    assert names(session, "tag:backup/gold") == [vcsim.guest]
    assert names(session, f"tag:*/* and not name:{vcsim.guest}") == []

"""Properties of many objects at once, asked in a way that a strict server answers."""

from __future__ import annotations

from tests.integration.vsphere.test_snapshots import Failing
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.properties import read_all, read_each


def objects(session, kind):
    return [found for found, _ in read_all(session, kind, "name")]


def test_a_property_that_only_the_derived_type_has_is_read_of_each_object(session):
    hosts = objects(session, vim.HostSystem)

    found = read_each(session, hosts, "name", "runtime.connectionState")

    assert [host for host, _ in found] == hosts
    assert {values["runtime.connectionState"] for _, values in found} == {"connected"}


def test_objects_of_several_types_are_read_together(session):
    asked = [*objects(session, vim.HostSystem), *objects(session, vim.Datastore), session.content.rootFolder]

    found = read_each(session, asked, "name")

    assert [thing for thing, _ in found] == asked
    assert all(values["name"] for _, values in found)


def test_nothing_asks_nothing(session):
    assert read_each(session, [], "name") == []


def test_objects_are_read_again_if_one_vanishes_meanwhile(session, lab):
    hosts = objects(session, vim.HostSystem)
    path = inventory_path_of(session, hosts[0])
    gone = {"obj": vim.HostSystem("host-1")}
    lab.site.faults.add(Failing(method="RetrievePropertiesEx", fault="ManagedObjectNotFound", count=2, added=gone))

    assert objects(session, vim.HostSystem) == hosts

    lab.site.faults.add(Failing(method="RetrievePropertiesEx", fault="ManagedObjectNotFound", added=gone))
    assert inventory_path_of(session, hosts[0]) == path

"""Names and paths as people type them and as vSphere stores them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.vsphere.inventory import nearest
from vmkeep.vsphere.names import decode_name, encode_name
from vmkeep.vsphere.paths import DatastorePath, parse_path
from vmkeep.vsphere.trust import normal_thumbprint


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("web%2f01", "web/01"),
        ("a%2Fb%5cc", "a/b\\c"),
        ("100%25 sure", "100% sure"),
        ("%252f", "%2f"),
        ("100%", "100%"),
        ("dätä ☃", "dätä ☃"),
    ],
)
def test_names_are_decoded_once(stored, typed):
    assert decode_name(stored) == typed


@given(st.text())
def test_every_name_survives_its_way_through_the_inventory(name):
    assert decode_name(encode_name(name)) == name
    assert "/" not in encode_name(name)


def test_a_datastore_path_is_taken_apart_and_put_together():
    path = DatastorePath.parse("[my store (1)] a b/ü.vmx")

    assert (path.datastore, path.path) == ("my store (1)", "a b/ü.vmx")
    assert str(path.sibling("x.nvram")) == "[my store (1)] a b/x.nvram"
    assert str(DatastorePath.parse("[ds]")) == "[ds]"


@pytest.mark.parametrize(
    ("text", "datastore", "path"),
    [
        ("[NAS [prod]] a/b.vmdk", "NAS [prod]", "a/b.vmdk"),
        ("[ds (1)] x y/z.vmdk", "ds (1)", "x y/z.vmdk"),
        ("[ds [x] y] f [1]/g].vmdk", "ds [x] y", "f [1]/g].vmdk"),
        ("[[a]] b", "[a]", "b"),
        ("[a]b] c", "a]b", "c"),
        ("[a [b] c/d", "a [b", "c/d"),
        ("[ds]a/b.vmx", "ds", "a/b.vmx"),
        ("[ds] a [old] b/c.vmdk", "ds", "a [old] b/c.vmdk"),
    ],
)
def test_names_of_datastores_and_files_may_hold_brackets_and_blanks(text, datastore, path):
    found = DatastorePath.parse(text)

    assert (found.datastore, found.path) == (datastore, path)
    assert DatastorePath.parse(str(found)) == found


@given(st.text("ab[] ()", min_size=1).map(str.strip).filter(bool), st.text("ab[]/ .", min_size=1).map(str.strip))
def test_a_balanced_name_of_a_datastore_survives_its_way_through_a_path(name, path):
    balanced = all(name[:at].count("[") >= name[:at].count("]") for at in range(len(name) + 1))
    assume(balanced and name.count("[") == name.count("]") and path)

    assert DatastorePath.parse(str(DatastorePath(name, path))) == DatastorePath(name, path)


@pytest.mark.parametrize("text", ["[] /vmimages/windows.iso", "[]", "", "[ds", "a [b] c"])
def test_a_path_without_a_datastore_is_none(text):
    assert parse_path(text) is None


def test_something_else_is_no_datastore_path():
    with pytest.raises(UnsupportedError, match="not a datastore path"):
        DatastorePath.parse("/vmfs/volumes/ds1")


def test_near_names_are_suggested():
    known = ["web01", "web02", "mail", "Database Server 01"]

    assert nearest("wbe01", known).startswith("'web01'")
    assert nearest("database", known) == "'Database Server 01'"
    assert nearest("zzzz", known) == ""


def test_thumbprints_are_read_with_and_without_colons():
    assert normal_thumbprint("aa:BB:" + "0" * 36) == "AABB" + "0" * 36
    assert len(normal_thumbprint("0" * 64)) == 64


@pytest.mark.parametrize("text", ["", "aa:bb", "g" * 40, "0" * 41])
def test_something_else_is_no_thumbprint(text):
    with pytest.raises(UsageError, match="not a certificate thumbprint"):
        normal_thumbprint(text)

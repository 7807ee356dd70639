"""The VMs that fit a selector, over plain facts."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.model.point import Power
from vmkeep.model.selector import shown_name
from vmkeep.selection import Above, VmFacts, fits, matcher, parse_selector
from vmkeep.vsphere.names import encode_name


def above(*names: str) -> tuple[Above, ...]:
    """Objects of which those in angle brackets are only steps on the path."""
    return tuple(Above(name.strip("<>"), counts=not name.startswith("<")) for name in names)


VM = VmFacts(
    moref="vm-16",
    name="web%2f01 (old)",
    uuids=("503f2b9a-8a1c-4a3e-9f4e-1d2c3b4a5968", "423f2b9a-8a1c-4a3e-9f4e-1d2c3b4a5968"),
    power=Power.ON,
    addresses=frozenset({"10.0.0.7", "fe80::1"}),
    dns_names=frozenset({"web01.example.com"}),
    tags=frozenset({("backup", "gold"), ("cost centre", "a%2fb=c"), ("site", "nord/süd")}),
    attributes={"owner": "Jo Doe", "a=b": "c=d"},
    folders=above("Europe", "<Lab>", "vm", "Production", "a%2fb", "Web"),
    pools=above("<Lab>", "<host>", "<Cluster 1>", "Resources", "Prod", "shop"),
    vapps=above("<Lab>", "<vm>", "shop", "front"),
    cluster="Cluster 1",
    host="esx01.example.com",
    datastores=("datastore1", "NAS [prod]"),
)

HIDDEN = VmFacts(
    moref="vm-17",
    name="web02",
    folders=(Above("Lab", counts=False), Above("vm", hidden=True), Above("Production"), Above("Web")),
    pools=(
        Above("Lab", counts=False), Above("host", counts=False, hidden=True), Above("Cluster 1", counts=False),
        Above("Resources", hidden=True), Above("Prod"),
    ),
    vapps=(Above("Lab", counts=False), Above("vm", counts=False, hidden=True), Above("shop"), Above("front")),
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        'name:"web/01 (old)"', 'name:"web%2f01 (old)"', "name:web*", "name:web?01*", "name:*", "name:*old?",
        "name~:^web", "name~:'\\d\\d'", "name~:(?i)WEB", "name~:web/01", "name~:'%2f'",
        "ipaddr:10.0.0.7", "ipaddr:fe80:0::0001", "ipaddr:FE80::1", "ipaddr:WEB01.example.com",
        "ipaddr:web01.example.com.",
        "uuid:503f2b9a-8a1c-4a3e-9f4e-1d2c3b4a5968", "uuid:423F2B9A8A1C4A3E9F4E1D2C3B4A5968",
        "uuid:'42 3f 2b 9a 8a 1c 4a 3e-9f 4e 1d 2c 3b 4a 59 68'",
        "moref:vm-16", "powerstate:on", "powerstate:On",
        "tag:backup/gold", "tag:backup/*", "tag:*/gold", "tag:'cost centre/a%2fb=c'", "tag:site/nord%2fsüd",
        "attribute:'owner=Jo Doe'", "attribute:owner=*", "attribute:owner=Jo*", "attribute:a%3db=c=d",
        "folder:Production", "folder:/Europe/Lab/vm/Production", "folder:/Europe",
        "folder:Lab/vm", "folder:Production/a%2fb", "folder:a/b", "folder:vm/*/a*",
        "folder:Web", "folder:Prod*",
        "pool:Prod", "pool:Resources/Prod", "pool:Resources", "pool:/Lab/host/*/Resources",
        "pool:shop", "vapp:shop", "vapp:front", "vapp:shop/front", "vapp:/Lab/vm/shop",
        "cluster:'Cluster 1'", "cluster:Cluster*", "host:esx01.example.com", "host:esx01*",
        "datastore:datastore1", "datastore:'NAS [prod]'", "datastore:*[prod]",
        "any:", "not none:", "any: and name:web*", "none: or name:web*", "not (name:db* or powerstate:off)",
    ],
)  # fmt: skip
def test_a_vm_that_has_it_fits(text):
    assert fits(parse_selector(text), VM)
    assert not fits(parse_selector(f"not ({text})"), VM)


@pytest.mark.parametrize(
    "text",
    [
        "name:web", "name:WEB*", "name:web[0-9]*", "name~:^01", "ipaddr:10.0.0.70", "ipaddr:web01", "moref:vm-1",
        "uuid:503f2b9a-8a1c-4a3e-9f4e-1d2c3b4a5969", "powerstate:off", "powerstate:suspended",
        "tag:backup/silver", "tag:gold/backup", "tag:site/nord", "attribute:owner=Jo", "attribute:Owner=*",
        "folder:Prod", "folder:Lab", "folder:/Lab/vm", "folder:/Production", "folder:Lab/Production", "folder:Web/x",
        "folder:a", "pool:Production", "pool:'Cluster 1'",
        "pool:/Lab/host", "vapp:vm",
        "vapp:sho", "cluster:Cluster", "host:esx01", "datastore:NAS", "none:", "any: and none:",
    ],
)  # fmt: skip
def test_a_vm_that_lacks_it_does_not_fit(text):
    assert not fits(parse_selector(text), VM)


@pytest.mark.parametrize(
    "text",
    [
        "folder:/Lab/Production", "folder:/Lab/vm/Production", "folder:Lab/Production", "folder:vm/Production",
        "folder:/Lab/Production/Web", "folder:/Lab/*/Web", "folder:/Lab/vm",
        "pool:'/Lab/Cluster 1/Prod'", "pool:'/Lab/host/Cluster 1/Resources/Prod'", "pool:'Cluster 1/Prod'",
        "pool:'/Lab/host/Cluster 1/Prod'", "pool:'/Lab/Cluster 1/Resources/Prod'",
        "vapp:/Lab/shop", "vapp:/Lab/vm/shop",
    ],
)  # fmt: skip
def test_a_path_fits_with_and_without_the_folders_that_vsphere_hides(text):
    assert fits(parse_selector(text), HIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "folder:/Production", "folder:/Lab", "folder:/Lab/Web", "folder:/Lab/vm/vm/Production", "folder:/vm/Production",
        "folder:/Lab/Team/Production", "folder:/Lab/vm/Team/Production", "pool:/Lab/Prod", "vapp:/Lab/front",
    ],
)  # fmt: skip
def test_a_folder_that_people_see_is_left_out_of_no_path(text):
    team = replace(HIDDEN, folders=(*HIDDEN.folders[:2], Above("vm"), *HIDDEN.folders[2:]))
    assert not fits(parse_selector(text), HIDDEN)
    assert not fits(parse_selector("folder:/Lab/Production"), team)
    assert fits(parse_selector("folder:/Lab/vm/Production"), team)


def test_a_vm_of_which_nothing_is_known_fits_nothing_but_its_id_and_name():
    bare = VmFacts(moref="vm-9", name="x")
    for text in ("ipaddr:10.0.0.7", "powerstate:off", "folder:*", "pool:*", "cluster:*", "host:*", "tag:*/*", "vapp:*"):
        assert not fits(parse_selector(text), bare)
    assert fits(parse_selector("name:x and moref:vm-9"), bare)


def test_two_forms_of_one_unicode_name_are_one_name():
    composed, parted = unicodedata.normalize("NFC", "dätä"), unicodedata.normalize("NFD", "dätä")
    for typed in (composed, parted):
        for stored in (composed, parted):
            vm = replace(VM, name=stored, folders=(Above(stored),), tags=frozenset({(stored, stored)}))
            for text in (f"name:{typed}", f"folder:{typed}", f"tag:{typed}/{typed}", f"name~:^{typed}$", "name:d?t?"):
                assert fits(parse_selector(text), vm)


NAMES = st.text(min_size=1, max_size=20)


@given(NAMES)
def test_every_vm_fits_its_own_name_as_a_list_prints_it(name):
    text = shown_name(name)
    selector = parse_selector(text if text != name else f"name:'{name.replace(chr(39), chr(39) * 2)}'")

    assert fits(selector, VmFacts(moref="vm-1", name=encode_name(name)))


FACTS = st.builds(
    VmFacts, moref=st.sampled_from(["vm-1", "vm-2"]), name=st.sampled_from(["a", "b"]), power=st.sampled_from(Power)
)
SELECTORS = st.sampled_from(["name:a", "moref:vm-1", "powerstate:on", "any:", "none:", "name:b and powerstate:off"])


@given(SELECTORS, SELECTORS, FACTS)
def test_and_or_not_are_those_of_sets(one, other, vm):
    first, second = fits(parse_selector(one), vm), fits(parse_selector(other), vm)

    assert fits(parse_selector(f"({one}) and ({other})"), vm) is (first and second)
    assert fits(parse_selector(f"({one}) or ({other})"), vm) is (first or second)
    assert fits(parse_selector(f"not ({one}) and not ({other})"), vm) is not (first or second)


def test_a_pattern_of_many_stars_ends():
    vm = replace(VM, name="a" * 80)

    assert not matcher(parse_selector("name:" + "*a" * 40 + "*b"))(vm)

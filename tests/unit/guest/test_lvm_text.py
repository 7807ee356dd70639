"""The text format of LVM is parsed whole, and an error names the line and the byte."""

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guest_disks import FOLDER
from tests.unit.guest.lvmdisks import Group, Pv
from vmkeep.guest.disks import Contradiction
from vmkeep.guest.lvm import read_lvm
from vmkeep.guest.lvm.metadata import read_group
from vmkeep.guest.lvm.text import Section, parse_text
from vmkeep.guest.lvm.values import Area, Segment

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,8}", fullmatch=True)
SINGLE = st.one_of(st.integers(-(1 << 62), 1 << 62), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
VALUES = st.one_of(SINGLE, st.lists(SINGLE, max_size=3).map(tuple))
SECTIONS = st.recursive(
    st.dictionaries(NAMES, VALUES, max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(VALUES, inner), max_size=4),
    max_leaves=12,
)
GAPS = st.sampled_from([" ", "\n", "\t\n\n", " # a comment = { [\n", "\n\n  "])


def written(section, gap):
    """Return a section as text, with ``gap`` between all its parts."""
    parts = []
    for name, value in section.items():
        if isinstance(value, dict):
            parts += [name, "{", written(value, gap), "}"]
        else:
            parts += [name, "=", shown(value, gap)]
    return gap.join(parts)


def shown(value, gap):
    if isinstance(value, tuple):
        return gap.join(["[", f"{gap},{gap}".join(shown(each, gap) for each in value), "]"])
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def plain(section: Section):
    return section.settings | {name: plain(inner) for name, inner in section.sections.items()}


@settings(max_examples=40)
@given(SECTIONS, GAPS)
def test_what_is_written_is_parsed_again(section, gap):
    assert plain(parse_text(written(section, gap).encode())) == section


@pytest.mark.parametrize(
    ("text", "line", "byte", "why"),
    [
        ("a = 1\nb = {", 2, 10, "'{' stands where a value should"),
        ("a {\n b = 1\n", 3, 11, "the end stands where '}' should"),
        ("a = 1\n}\n", 2, 6, "'}' closes a section that never began"),
        ("a = [1, 2\nb = 3", 2, 10, "a name stands in a list where ',' or ']' should"),
        ('ä = 1\nb = "never ends', 2, 11, "a string has no end"),
        ("a = 1\n\na = 2", 3, 7, "'a' stands there for the second time"),
        ("a\nb", 2, 2, "neither '=' nor '{' follows the name 'a'"),
        ("= 1", 1, 0, "'=' stands where a name should begin a setting or a section"),
        ("a = " + "9" * 50, 1, 4, "a number has 50 digits"),
        ("a {" * 17 + "}" * 17, 1, 50, "more than 16 sections lie in one another"),
    ],
)
def test_an_error_names_line_and_byte(text, line, byte, why):
    with pytest.raises(Contradiction) as caught:
        parse_text(text.encode())
    assert str(caught.value) == f"line {line} of the metadata text, its byte {byte}: {why}"


@given(st.one_of(st.binary(max_size=200), st.text(alphabet='ab1 .-+{}[]=,"\\#\n', max_size=60).map(str.encode)))
def test_any_bytes_are_parsed_or_refused(data):
    try:
        parse_text(data)
    except Contradiction:
        pass


@pytest.mark.parametrize(
    "text", [b"a{" * 200_000, b"[" * 400_000, b'"' * 400_001, b"#" * 400_000, b"a=[" + b"1," * 500_000, b"\\" * 400_000]
)
def test_a_hostile_text_ends_soon_in_little_memory(text):
    began = time.process_time()
    try:
        parse_text(text)
    except Contradiction:
        pass
    assert time.process_time() - began < 20
    few = text[:100_000]
    tracemalloc.start()
    try:
        parse_text(few)
    except Contradiction:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 40 * len(few)


def test_a_million_volumes_are_refused_soon():
    """The limit of settings keeps them from becoming a million values."""
    pvs = "".join(f'p{at}{{id="{at}"}}' for at in range(210_000))
    began = time.process_time()
    with pytest.raises(Contradiction, match="more than 400000 settings"):
        read_group(f"vg {{ physical_volumes {{ {pvs} }} }}".encode())
    assert time.process_time() - began < 20


SEGMENTS = """
lv {{ id = "l" status = ["READ", "VISIBLE"] flags = [] segment_count = 1
segment1 {{ start_extent = 0 extent_count = 8 {} }} }}"""
KINDS = {
    'type = "striped" stripe_count = 2 stripe_size = 128 stripes = ["pv0", 3, "pv1", 4]': Segment(
        start_extent=0, extent_count=8, kind="striped", stripe_size=65536,
        areas=(Area(pv="pv0", start=3), Area(pv="pv1", start=4)),
    ),
    'type = "raid1" device_count = 2 region_size = 4096 raids = ["m0", "d0", "m1", "d1"]': Segment(
        start_extent=0, extent_count=8, kind="raid1", region_size=2 << 20,
        areas=(Area(lv="d0"), Area(lv="d1")), metadata_areas=(Area(lv="m0"), Area(lv="m1")),
    ),
    'type = "mirror" mirror_count = 2 mirror_log = "log" region_size = 1024 mirrors = ["d0", 0, "d1", 0]': Segment(
        start_extent=0, extent_count=8, kind="mirror", region_size=1 << 19, areas=(Area(lv="d0"), Area(lv="d1")),
    ),
    'type = "thin-pool" metadata = "tmeta" pool = "tdata" transaction_id = 3 chunk_size = 128': Segment(
        start_extent=0, extent_count=8, kind="thin-pool", metadata="tmeta", pool="tdata", transaction_id=3,
        chunk_size=65536,
    ),
    'type = "thin" thin_pool = "pool" transaction_id = 1 device_id = 7 origin = "base"': Segment(
        start_extent=0, extent_count=8, kind="thin", pool="pool", transaction_id=1, device_id=7, origin="base",
    ),
    'type = "snapshot" chunk_size = 8 origin = "base" cow_store = "snap"': Segment(
        start_extent=0, extent_count=8, kind="snapshot", chunk_size=4096, origin="base", cow_store="snap",
    ),
    'type = "cache+METADATA_FORMAT" cache_pool = "pool" origin = "slow"': Segment(
        start_extent=0, extent_count=8, kind="cache", kind_flags=("METADATA_FORMAT",), pool="pool", origin="slow",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), KINDS.items())
def test_a_segment_of_each_kind_becomes_a_value(settings, expected):
    text = Group(pvs=(Pv(name="pv0"), Pv(name="pv1"))).text()
    logical = f"logical_volumes {{ {SEGMENTS.format(settings)} }}\n}}\n# Generated"
    group = read_group(text.replace(b"}\n# Generated", logical.encode()))

    assert group.logical_volumes[0].segments == (expected,)
    assert group.logical_volumes[0].is_visible


@pytest.mark.parametrize(
    "settings",
    [
        'type = "striped" stripes = ["pv0"]',
        'type = "striped" stripes = ["pv0", -1]',
        'type = "striped" stripes = [1, 2]',
        "type = 3",
        'type = "thin" device_id = "x"',
    ],
)
def test_a_segment_that_makes_no_sense_is_refused(settings):
    logical = f"logical_volumes {{ {SEGMENTS.format(settings)} }}\n}}\n# Generated"
    with pytest.raises(Contradiction, match="line "):
        read_group(Group(pvs=(Pv(),)).text().replace(b"}\n# Generated", logical.encode()))


def test_logical_volumes_are_read_as_lvm_itself_tells_them(guest_disks):
    """``lvs`` printed a line for each segment, with the areas at its beginning."""
    (group,) = read_lvm(guest_disks.scenario("i-consistent")).groups
    told = FOLDER.joinpath("expected", "i.tools").read_text().partition("== lvs\n")[2].splitlines()[1:]
    devices = {volume.name: volume.device for volume in group.physical_volumes}

    found = {
        (
            group.name, volume.name, volume.uuid, "striped" if len(segment.areas) > 1 else "linear",
            f"{volume.extent_count * group.extent_size // 512}S",
            ",".join(f"{devices[area.pv]}({area.start})" for area in segment.areas),
        )
        for volume in group.logical_volumes
        for segment in volume.segments
    }  # fmt: skip

    assert found == {tuple(line.split()) for line in told}

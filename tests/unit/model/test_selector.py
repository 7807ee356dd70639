"""Names as they are printed and as they are typed."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.cli.output import one_line
from vmkeep.model.selector import names_meant, path_meant, shown_name

NAMES = st.text(min_size=1, max_size=30)


@pytest.mark.parametrize(
    "name", ["web01", "dätä web/01 ☃", "a b", "a:b", "web[1]", "half%2fhalf", "it's", '6" rack', "a'b"]
)
def test_a_plain_name_is_shown_as_it_is(name):
    assert shown_name(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("web01 ", 'name:"web01 "'),
        (" web01", 'name:" web01"'),
        ("a  b", 'name:"a  b"'),
        ("web01\t", 'name:"web01\\t"'),
        ("a\nb", 'name:"a\\nb"'),
        ("-rf", 'name:"-rf"'),
        ("/etc", 'name:"/etc"'),
        ('"web01"', 'name:"\\"web01\\""'),
        ("moref:vm-12", 'name:"moref:vm-12"'),
        ("latest:web01", 'name:"latest:web01"'),
        ("latest", 'name:"latest"'),
        ("zero\u200bwidth", 'name:"zero\\u200bwidth"'),
    ],
)
def test_a_name_that_a_line_does_not_hold_is_shown_in_quotes(name, shown):
    assert shown_name(name) == shown


@given(NAMES)
def test_a_shown_name_stands_on_one_line_and_means_the_name(name):
    shown = shown_name(name)

    assert shown == one_line(shown) == shown.strip()
    assert "  " not in shown or '"' in shown
    assert name in names_meant(shown)
    assert name in names_meant(name)
    assert name in names_meant(f"name:{name}")


@given(st.text(alphabet=st.characters(categories=("L", "N", "Zs", "Pd"), include_characters="\":/'"), min_size=1))
def test_a_shell_takes_the_quotes_of_a_printable_name_off_and_the_name_is_still_meant(name):
    shown = shown_name(name)
    if name.isprintable() and shown.startswith('name:"'):
        assert name in names_meant("".join(shlex.split(shown)))


@given(NAMES, NAMES)
def test_a_shown_name_means_no_other_name_that_is_shown_as_it_is(name, other):
    if other != name and shown_name(other) == other and shown_name(name) != name:
        assert other not in names_meant(shown_name(name))


@pytest.mark.parametrize(
    ("text", "path"), [("/Lab/vm/x", "/Lab/vm/x"), ("name:/Lab/vm/x", "/Lab/vm/x"), ("x/y", None), ("name:x", None)]
)
def test_a_path_begins_with_a_slash(text, path):
    assert path_meant(text) == path

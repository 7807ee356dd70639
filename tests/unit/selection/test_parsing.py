"""Selectors as they are typed, printed and refused."""

from __future__ import annotations

import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import SelectorError
from vmkeep.model.selector import shown_name
from vmkeep.selection import And, Condition, Kind, Not, Or, parse_selector
from vmkeep.selection.parsing import DEEPEST


def name(value: str) -> Condition:
    return Condition(Kind.NAME, value)


A, B, C, D = map(name, "abcd")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("name:a", A),
        ("  name:a\n", A),
        ("name:a or name:b and name:c", Or((A, And((B, C))))),
        ("name:a and name:b or name:c", Or((And((A, B)), C))),
        ("not name:a and name:b", And((Not(A), B))),
        ("not name:a or name:b", Or((Not(A), B))),
        ("not (name:a or name:b)", Not(Or((A, B)))),
        ("not not name:a", Not(Not(A))),
        ("(name:a or name:b) and (name:c or name:d)", And((Or((A, B)), Or((C, D))))),
        ("((name:a))", A),
        ("name:a or name:b or name:c", Or((A, B, C))),
        ("name:a AND NOT name:b Or name:c", Or((And((A, Not(B))), C))),
        ("(name:a)and(name:b)or not(name:c)", Or((And((A, B)), Not(C)))),
        ("any: and not none:", And((Condition(Kind.ANY), Not(Condition(Kind.NONE))))),
        ("NAME:A", name("A")),
        ("powerstate:ON", Condition(Kind.POWERSTATE, "ON")),
    ],
)
def test_not_binds_closer_than_and_which_binds_closer_than_or(text, tree):
    assert parse_selector(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name:web01", "web01"),
        ("name:a:b", "a:b"),
        ("name:and", "and"),
        ("name:O'Brien", "O'Brien"),
        ('name:6"', '6"'),
        ("name:web(1)", "web(1)"),
        ("name:web[1]{2}<3>", "web[1]{2}<3>"),
        ("name:a%2fb", "a%2fb"),
        ("name:a/b", "a/b"),
        ("name:a\\b", "a\\b"),
        ("name:dätä☃", "dätä☃"),
        ('name:"my vm"', "my vm"),
        ("name:'my vm'", "my vm"),
        ('name:"a \\"b\\" \\u2603 \\ud83d\\ude00"', 'a "b" ☃ 😀'),
        (r"name:'\d ''x'''", r"\d 'x'"),
        ('name:"a)b("', "a)b("),
        ('name:" and "', " and "),
        ('name:"a\tb"', "a\tb"),
        (f"name:{unicodedata.normalize('NFD', 'ä')}", "ä"),
    ],
)
def test_a_value_is_taken_as_it_stands_or_in_quotes(text, value):
    assert parse_selector(text) == name(value)
    assert parse_selector(f"({text})") == name(value)
    assert parse_selector(f"{text} or name:b") == Or((name(value), B))


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("", 0, "expected a condition"),
        ("   ", 3, "expected a condition"),
        ("web01", 0, "a VM's name stands behind 'name:'"),
        ("name:my vm", 8, 'a value with blanks stands in quotes, name:"my vm"'),
        ("name:a name:b", 7, "expected 'and', 'or' or the end"),
        ("name:a or", 9, "expected a condition"),
        ("name:a and and name:b", 11, "expected a condition"),
        ("and name:a", 0, "expected a condition"),
        ("not", 3, "expected a condition"),
        ("(name:a", 0, "expected a closing bracket"),
        ("(name:a name:b)", 8, "expected 'and', 'or' or a closing bracket"),
        ("name:a)", 6, "expected 'and', 'or' or the end"),
        ("()", 1, "expected a condition"),
        ("name:", 5, "expected a value right behind 'name:'"),
        ("name: a", 5, "expected a value right behind 'name:'"),
        ('name:""', 5, "is empty"),
        ("nmae:a", 0, "did you mean 'name:'?"),
        ("ip:10.0.0.7", 0, "did you mean 'ipaddr:'?"),
        ("power:on", 0, "did you mean 'powerstate:'?"),
        ("colour:red", 0, "expected one of name:, name~:, ipaddr:"),
        ("folder~:x", 0, "only 'name~:' takes a regular expression"),
        ('name:"a', 5, 'expected a closing "'),
        ("name:'a", 5, "expected a closing '"),
        ('name:"a"b', 8, "behind the closing quote"),
        (r'name:"\d"', 6, "in single quotes a backslash is itself"),
        (r'name:"\ud83d"', 5, "surrogate pair"),
        ("name:a(b", 6, "expected a closing bracket for the one that opens here"),
        ("name:\udcff", 5, "not UTF-8"),
        ("any", 0, "expected 'any:', with a colon"),
        ("any:x", 4, "takes no value"),
        ("name~:[a", 6, "no regular expression"),
        ("name:a and powerstate:onn", 22, "expected on, off or suspended"),
        ("uuid:1234", 5, "32 hexadecimal digits"),
        ("tag:gold", 4, "expected category/name"),
        ("tag:a/b/c", 4, "%2f"),
        ("tag:/gold", 4, "expected category/name"),
        ("attribute:owner", 10, "expected name=value"),
        ("attribute:owner=", 10, "expected name=value"),
        ('ipaddr:"10.0.0.1 10.0.0.2"', 7, "without blanks"),
        ("folder:a//b", 7, "a name between its slashes"),
        ("folder:/", 7, "a name between its slashes"),
    ],
)
def test_a_text_that_is_no_selector_is_refused_with_its_place_and_what_is_expected(text, at, expected):
    with pytest.raises(SelectorError) as refused:
        parse_selector(text)

    assert refused.value.at == at
    assert expected in str(refused.value)


def test_the_message_counts_characters_from_one_and_repeats_what_stands_there():
    with pytest.raises(SelectorError, match=r"^selector, at character 9 \('powerstat:on or none:'\): there is no"):
        parse_selector("any: or powerstat:on or none:")


@pytest.mark.parametrize("level", ["(", "not ", "not ("])
def test_levels_without_end_are_refused(level):
    deepest = DEEPEST // (2 if level == "not (" else 1)
    text = level * deepest + "any:" + ")" * level.count("(") * deepest
    parse_selector(text)
    with pytest.raises(SelectorError, match=f"at most {DEEPEST} levels"):
        parse_selector(level * 100_000 + "any:")


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|aa)*",
        "(?:a?){40}b",
        "((a)|b)+",
        "(?P<x>a*)*",
        ".*" * 6,
        "(a{2,})*",
        "((a|b)c)+",
        "a?" * 11,
        "(a|aa)" * 11,
        "(?i)" + "x*" * 6,
        "a?" * 10 + "a*" * 5 + "b",
        "(a|b)?" * 3 + "a*" * 4 + "b",
        "a?" * 9 + "a*" * 3 + "b",
    ],
)
def test_a_regular_expression_that_may_not_end_is_refused(pattern):
    with pytest.raises(SelectorError, match="may not end"):
        parse_selector(f"name~:'{pattern}'")


@pytest.mark.parametrize(
    "pattern",
    [
        r"^web\d+$", "^(web|db)[0-9]{2}", "a.*b.*c", "(?i)WEB", "(ab)+", r"[(|*]+", r"\(a\|b\)+", "x{2,3}", "(?:web)*",
        "(?=a)b", "[]*]+", "a*?b", "(a|b)?", "a|b|c|d|e|f|g|h|i|j|k|l|m", "(?i)web(01|02|03)?", "(?i:a)+",
        "a?b?c?d?-.*-.*-.*", "(web|db).*-.*-.*-.*-.*",
    ],
)  # fmt: skip
def test_a_usual_regular_expression_is_taken(pattern):
    quoted = pattern.replace("'", "''")

    assert parse_selector(f"name~:'{quoted}'") == Condition(Kind.NAME_REGEX, pattern)


TEXT = st.text(min_size=1, max_size=12)
PART = st.text(st.characters(exclude_characters="/=", exclude_categories=("Cs",)), min_size=1, max_size=8)
VALUES = {
    Kind.NAME: TEXT,
    Kind.NAME_REGEX: st.sampled_from(["^a b$", "(web|db)", r"\d\"", r"\(", "x'y"]),
    Kind.IPADDR: st.sampled_from(["10.0.0.1", "fe80::1", "web01.example.com"]),
    Kind.UUID: st.uuids().map(str) | st.uuids().map(lambda each: each.hex) | st.just(str(uuid.UUID(int=7)).upper()),
    Kind.MOREF: TEXT,
    Kind.POWERSTATE: st.sampled_from(["on", "off", "suspended"]),
    Kind.TAG: st.tuples(PART, PART).map("/".join),
    Kind.ATTRIBUTE: st.tuples(PART, TEXT).map("=".join),
    Kind.FOLDER: st.lists(PART, min_size=1, max_size=3).map("/".join),
    Kind.POOL: PART,
    Kind.CLUSTER: TEXT,
    Kind.HOST: TEXT,
    Kind.DATASTORE: TEXT,
    Kind.VAPP: PART,
    Kind.ANY: st.just(""),
    Kind.NONE: st.just(""),
}
CONDITIONS = st.sampled_from(Kind).flatmap(lambda kind: st.builds(Condition, st.just(kind), VALUES[kind]))


def joined(parts):
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, parts) | st.builds(And, several) | st.builds(Or, several)


TREES = st.recursive(CONDITIONS, joined, max_leaves=12)


def test_every_kind_has_values_here():
    assert set(VALUES) == set(Kind)


@given(TREES)
def test_a_printed_selector_is_parsed_into_the_same_tree(tree):
    assert parse_selector(str(tree)) == tree


@given(TREES)
def test_a_printed_selector_stands_on_one_line(tree):
    assert str(tree).isprintable()


@given(TEXT)
def test_every_name_that_a_list_prints_in_quotes_can_be_given_back(vm):
    if shown_name(vm) != vm:
        assert parse_selector(shown_name(vm)) == name(vm)


PIECES = st.sampled_from(
    ["name:", "name~:", "uuid:", "tag:", "any:", "none:", "(", ")", '"', "'", "\\", " ", "and", "or", "not", "a/b", "=",
     "*", "\\u00", "\ud800", "\x00", "ä", "%2f", "x:"]
)  # fmt: skip


def tree_or_place(text):
    try:
        return parse_selector(text), None
    except SelectorError as error:
        return None, error.at


@given(st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join))
def test_any_text_is_parsed_or_refused_at_a_place_within_it(text):
    tree, place = tree_or_place(text)

    assert (place is None) is (tree is not None)
    assert place is None or 0 <= place <= len(text)
    assert tree is None or parse_selector(str(tree)) == tree

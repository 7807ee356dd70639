"""The meaning of a selector: a test of one VM's facts.

A name fits as a person reads it or as vSphere stores it (``web/01`` and ``web%2f01`` are one name), in capitals and
small letters as they are, in Unicode's composed form. ``*`` and ``?`` stand for any characters, in every kind but
``name~:``, ``uuid:``, ``ipaddr:`` and ``powerstate:``.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable

from vmkeep.model.selector import decode_name
from vmkeep.selection.facts import Above, VmFacts
from vmkeep.selection.terms import And, Condition, Kind, Not, Or, Selector
from vmkeep.selection.values import decode, hex_digits, split_attribute, split_tag

Test = Callable[[VmFacts], bool]
NameTest = Callable[[str], bool]


def fits(selector: Selector, vm: VmFacts) -> bool:
    """Return whether a VM fits."""
    return matcher(selector)(vm)


def matcher(selector: Selector) -> Test:
    """Return the test of a selector, to be used on many VMs."""
    match selector:
        case Condition(kind, value):
            return _MAKERS[kind](value)
        case Not(part):
            inner = matcher(part)
            return lambda vm: not inner(vm)
        case And(parts):
            tests = [matcher(part) for part in parts]
            return lambda vm: all(test(vm) for test in tests)
        case Or(parts):
            tests = [matcher(part) for part in parts]
            return lambda vm: any(test(vm) for test in tests)


def address_of(text: str) -> str | None:
    """Return an IP address in its usual spelling; ``None``: the text is none, but maybe a DNS name."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def readings(stored: str) -> tuple[str, ...]:
    """Return a name as a person reads it, and as vSphere stores it."""
    composed = unicodedata.normalize("NFC", stored)
    return (decode_name(composed), composed) if "%" in composed else (composed,)


def name_test(pattern: str) -> NameTest:
    """Return the test of a stored name against a pattern with ``*`` and ``?``; every other character is itself."""
    if "*" not in pattern and "?" not in pattern:
        return lambda stored: pattern in readings(stored)
    wanted = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda stored: any(wanted.match(reading) for reading in readings(stored))


def _name(value: str) -> Test:
    test = name_test(value)
    return lambda vm: test(vm.name)


def _name_regex(value: str) -> Test:
    wanted = re.compile(value)
    return lambda vm: any(wanted.search(reading) for reading in readings(vm.name))


def _address(value: str) -> Test:
    address = address_of(value)
    if address is not None:
        return lambda vm: address in vm.addresses
    name = value.rstrip(".").lower()
    return lambda vm: name in vm.dns_names


def _uuid(value: str) -> Test:
    digits = hex_digits(value)
    return lambda vm: any(hex_digits(uuid) == digits for uuid in vm.uuids)


def _power(value: str) -> Test:
    return lambda vm: vm.power is not None and vm.power.value == value.lower()


def tag_tests(value: str) -> tuple[NameTest, NameTest]:
    """Return the tests of a category's name and of a tag's, for the value of a ``tag:`` condition."""
    category, name = split_tag(value)
    return name_test(category), name_test(name)


def _tag(value: str) -> Test:
    category, name = tag_tests(value)
    return lambda vm: any(category(of) and name(tag) for of, tag in vm.tags)


def _attribute(value: str) -> Test:
    name, content = map(name_test, split_attribute(value))
    return lambda vm: any(name(attribute) and content(is_now) for attribute, is_now in vm.attributes.items())


def _within(chain: Callable[[VmFacts], tuple[Above, ...]]) -> Callable[[str], Test]:
    """Return what makes the test whether an object above a VM has a name, or stands at a path."""

    def make(value: str) -> Test:
        test = _path_test(value)
        return lambda vm: test(chain(vm))

    return make


def _path_test(value: str) -> Callable[[tuple[Above, ...]], bool]:
    """Return the test of the objects above a VM, from the top.

    A path with a slash in front begins at the top, any other one anywhere, and ends at an object that counts. It may
    leave out objects that vSphere's clients hide. A name that really holds the slashes fits as well.
    """
    parts = [name_test(decode(part)) for part in value.removeprefix("/").split("/")]
    whole = name_test(value)
    from_top = value.startswith("/")

    def stands_in(chain: tuple[Above, ...]) -> bool:
        starts = range(1 if from_top else max(0, len(chain) - len(parts) + 1))
        return any(_ends_there(parts, chain[start : start + len(parts)]) for start in starts)

    def test(chain: tuple[Above, ...]) -> bool:
        return any(map(stands_in, _spellings(chain))) or any(above.counts and whole(above.name) for above in chain)

    return test


def _spellings(chain: tuple[Above, ...]) -> list[tuple[Above, ...]]:
    """Return the objects of a path with and without each hidden one, because people write the path that they see."""
    found: list[tuple[Above, ...]] = [()]
    for above in chain:
        with_it = [(*known, above) for known in found]
        found = [*with_it, *found] if above.hidden else with_it
    return found


def _ends_there(tests: list[NameTest], objects: tuple[Above, ...]) -> bool:
    return (
        len(tests) == len(objects)
        and objects[-1].counts
        and all(test(above.name) for test, above in zip(tests, objects, strict=True))
    )


def _one_of(names: Callable[[VmFacts], Iterable[str | None]]) -> Callable[[str], Test]:
    """Return what makes the test whether one of a VM's names of some kind fits."""

    def make(value: str) -> Test:
        test = name_test(value)
        return lambda vm: any(test(name) for name in names(vm) if name is not None)

    return make


_MAKERS: dict[Kind, Callable[[str], Test]] = {
    Kind.NAME: _name,
    Kind.NAME_REGEX: _name_regex,
    Kind.IPADDR: _address,
    Kind.UUID: _uuid,
    Kind.MOREF: lambda value: lambda vm: vm.moref == value,
    Kind.POWERSTATE: _power,
    Kind.TAG: _tag,
    Kind.ATTRIBUTE: _attribute,
    Kind.FOLDER: _within(lambda vm: vm.folders),
    Kind.POOL: _within(lambda vm: vm.pools),
    Kind.VAPP: _within(lambda vm: vm.vapps),
    Kind.CLUSTER: _one_of(lambda vm: (vm.cluster,)),
    Kind.HOST: _one_of(lambda vm: (vm.host,)),
    Kind.DATASTORE: _one_of(lambda vm: vm.datastores),
    Kind.ANY: lambda _: lambda _: True,
    Kind.NONE: lambda _: lambda _: False,
}

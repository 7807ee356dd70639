"""The selectors: the language in which a person says which VMs are meant, and its meaning.

``name:web* and not (tag:backup/never or powerstate:off)`` is parsed into a tree of conditions (``parsing`` over
``tokens``, ``values`` and ``regexes``), and printed again by the tree itself (``terms``). ``matching`` turns the tree
into a test of one VM's ``facts``. Nothing here asks a server: the caller collects the facts, and the tree tells which
kinds of facts it needs, because some cost calls.

``docs/cli.md`` describes the language for people.
"""

from vmkeep.selection.facts import Above, VmFacts
from vmkeep.selection.matching import NameTest, address_of, fits, matcher, tag_tests
from vmkeep.selection.parsing import parse_selector
from vmkeep.selection.terms import And, Condition, Kind, Not, Or, Selector, conditions

__all__ = [
    "Above",
    "And",
    "Condition",
    "Kind",
    "NameTest",
    "Not",
    "Or",
    "Selector",
    "VmFacts",
    "address_of",
    "conditions",
    "fits",
    "matcher",
    "parse_selector",
    "tag_tests",
]

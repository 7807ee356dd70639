"""The decorator that makes the product's data classes: one everywhere, because a command waits for each other one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import vmkeep

ROOT = Path(vmkeep.__file__).parent
OWN = {"lateclass.py"}
"""The module that wraps the standard library's decorator."""
KIT = "testing/"
"""The kit for tests, which no command loads."""


def slow_ones(tree: ast.Module) -> Iterator[str]:
    """Yield the data classes of a module that takes the standard library's decorator though none of them has an order.

    A module takes one decorator for all its classes, and only the standard library's knows an order.
    """
    standard = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and "dataclass" in {a.name for a in node.names}
        for node in ast.walk(tree)
    )
    classes = {
        node.name: {word.arg for word in each.keywords} if isinstance(each, ast.Call) else set()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for each in node.decorator_list
        if ast.unparse(each).partition("(")[0] == "dataclass"
    }
    if standard and not any("order" in given for given in classes.values()):
        yield from classes


def test_every_data_class_that_a_command_may_load_compiles_its_methods_late():
    found = {}
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if name not in OWN and not name.startswith(KIT):
            found |= {f"{name}: {each}": "" for each in slow_ones(ast.parse(path.read_text(encoding="utf-8")))}
    assert sorted(found) == [], "take 'dataclass' from vmkeep.lateclass (decision 0140)"


def test_the_rule_sees_a_class_of_the_standard_library():
    module = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A: ...\n@dataclass\nclass B: ...\n"

    assert [*slow_ones(ast.parse(module))] == ["A", "B"]
    assert [*slow_ones(ast.parse(f"{module}@dataclass(order=True)\nclass C: ..."))] == []

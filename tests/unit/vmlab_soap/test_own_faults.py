"""The faults that the lab raises by itself carry a text and all that their types require."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyVmomi import VmomiSupport, vim, vmodl

LAB = Path(__file__).parents[3] / "include/vmlab"
ROOTS = {"vim": vim, "vmodl": vmodl}


def type_of(node: ast.expr) -> Any:
    """The API's type that an expression such as ``vim.fault.NotFound`` names, or None."""
    if isinstance(node, ast.Name):
        return ROOTS.get(node.id)
    if isinstance(node, ast.Attribute) and (owner := type_of(node.value)) is not None:
        return getattr(owner, node.attr, None)
    return None


def faults() -> Iterator[tuple[str, Any, set[str | None]]]:
    """Each fault that is made somewhere in the lab: place, type, and the fields that are given."""
    for path in sorted(LAB.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                kind = type_of(node.func)
                if isinstance(kind, type) and issubclass(kind, vmodl.MethodFault):
                    yield f"{path.name}:{node.lineno}", kind, {keyword.arg for keyword in node.keywords}


def required(kind: Any) -> set[str]:
    return {
        info.name
        for info in kind._GetPropertyList()
        if not info.flags & VmomiSupport.F_OPTIONAL and info.name not in ("dynamicType", "msg")
    }


def test_every_fault_that_the_lab_makes_has_a_text_and_its_required_fields():
    found = list(faults())
    lacking = [
        f"{where}: {kind.__name__} lacks {', '.join(sorted(map(str, missing)))}"
        for where, kind, given in found
        if None not in given and (missing := ({"msg"} | required(kind)) - given)
    ]

    assert len(found) > 100
    assert lacking == []

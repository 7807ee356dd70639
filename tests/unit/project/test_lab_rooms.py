"""The lab's packages: each is entered through its door, says what it is, and its behaviours are really registered."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from vmlab.managed import dispatch
from vmlab.managed.site import calls

LAB = Path(__file__).parents[3] / "include" / "vmlab"
OPEN = "vmlab.managed"
"""The one package that is only a house of packages: each of these has a door of its own."""
PACKAGES = sorted(".".join(("vmlab", *path.parent.relative_to(LAB).parts)) for path in LAB.rglob("*/__init__.py"))
MODULES = sorted(path for path in LAB.rglob("*.py"))


def package_of(module: str) -> str | None:
    """The package that a module is in, or is; None for one that stands free."""
    return max((name for name in PACKAGES if name != OPEN and f"{module}.".startswith(f"{name}.")), default=None)


def name_of(path: Path) -> str:
    return ".".join(("vmlab", *path.relative_to(LAB).with_suffix("").parts)).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """The lab's modules that a file imports, in functions and for type checking, too."""
    modules = {name_of(module) for module in MODULES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("vmlab"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vmlab"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)


def test_other_packages_are_entered_through_their_door_only() -> None:
    past_the_door = {
        (name_of(path), name)
        for path in MODULES
        for name in imported(path)
        if package_of(name) not in (package_of(name_of(path)), name, None)
    }
    assert past_the_door == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_in_5_to_15_lines_what_it_holds(package: str) -> None:
    said = import_module(package).__doc__ or ""
    assert 5 <= len(said.strip().splitlines()) <= 15


def test_every_module_that_answers_calls_is_loaded_by_the_dispatcher() -> None:
    families = {package.__name__: package for package in dispatch.FAMILIES}
    answering = {name_of(path) for path in MODULES if _registers(path)}
    listed = {module.__name__ for package in families.values() for module in package.BEHAVIOURS}
    assert answering == listed


def test_no_two_modules_of_the_lab_have_one_name() -> None:
    names = [path.stem for path in MODULES if path.stem != "__init__"]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def _registers(path: Path) -> bool:
    known = {calls.method.__name__, calls.task_method.__name__, calls.computed.__name__, calls.refusal.__name__}
    called = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(isinstance(function, ast.Name) and function.id in known for function in called)

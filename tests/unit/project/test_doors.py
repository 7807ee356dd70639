"""No room has an inside that others import from: a package's ``__all__`` is its door, names and modules alike."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = {"vmkeep": ROOT / "include", "vmkeep_airflow": ROOT / "plugins"}
CALLERS = (*(base / name for name, base in SOURCES.items()), ROOT / "dags", ROOT / "demo")

# The modules of these are the door: errors, clock and privacy at the top, and the operators by their file names.
NO_MODULES = {"__all__", "__init__", "latest", "vim"}
"""Words that docstrings of packages set as code, and that are neither modules nor at a door."""
OPEN = {"vmkeep", "vmkeep_airflow", "vmkeep_airflow.operators", "vmkeep_airflow.hooks"}


def _dotted(path: Path) -> str:
    base = next((base for base in SOURCES.values() if path.is_relative_to(base)), ROOT)
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


FILES = {_dotted(path): path for top in CALLERS for path in sorted(top.rglob("*.py"))}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text())


@cache
def _door(package: str) -> set[str]:
    for node in _tree(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _imports(importer: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield package and name of each thing that a file takes from our packages.

    A module counts where it is imported, also in a function, where it is reached over its package
    (``blocks.writer``), and where a text names it, because ``import_module`` takes a text.
    """
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield alias.name.rpartition(".")[0], alias.name.rpartition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(importer, node)
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{module}.{alias.name}"
                yield module, alias.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in FILES:
            yield node.value.rpartition(".")[0], node.value.rpartition(".")[2]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (names := _names(node)):
            whole = ".".join((bound.get(names[0], names[0]), *names[1:]))
            if whole in FILES:
                yield whole.rpartition(".")[0], whole.rpartition(".")[2]


def _names(node: ast.Attribute) -> list[str]:
    """Return the names of ``a.b.c``, or none if it begins with anything but a name."""
    names: list[str] = []
    part: ast.expr = node
    while isinstance(part, ast.Attribute):
        names.append(part.attr)
        part = part.value
    return [part.id, *reversed(names)] if isinstance(part, ast.Name) else []


def _absolute(importer: str, node: ast.ImportFrom) -> str:
    """Return the whole name of the module that a file imports from."""
    if not node.level:
        return node.module or ""
    parts = importer.split(".")
    up = node.level - (importer in PACKAGES)
    return ".".join((*parts[: len(parts) - up], *filter(None, [node.module])))


def _trespasses(importer: str, tree: ast.Module) -> Iterator[str]:
    for module, name in _imports(importer, tree):
        inside = module if module in PACKAGES else module.rpartition(".")[0]
        if inside not in PACKAGES or inside in OPEN or importer == inside or importer.startswith(f"{inside}."):
            continue
        taken = name if module in PACKAGES else module.rpartition(".")[2]
        if f"{inside}.{taken}" not in PACKAGES and taken not in _door(inside):
            yield f"{importer}: {taken} of {inside} is not at the door"


def test_a_room_is_entered_through_its_door():
    assert [found for importer in sorted(FILES) for found in _trespasses(importer, _tree(importer))] == []


@pytest.mark.parametrize(
    "source",
    [
        "from vmkeep.repository.blocks.writer import BlockWriter",
        "import vmkeep.repository.blocks.writer as writer",
        "def late():\n    from vmkeep.repository.blocks import writer",
        "if TYPE_CHECKING:\n    from vmkeep.repository.blocks.writer import BlockWriter",
        "from .repository.blocks.writer import BlockWriter",
        "from vmkeep.repository import blocks\nblocks.writer.BlockWriter()",
        "import vmkeep.repository.blocks\nvmkeep.repository.blocks.writer.BlockWriter()",
        "import_module('vmkeep.repository.blocks.writer')",
    ],
)
def test_no_spelling_of_an_import_goes_past_a_door(source):
    assert list(_trespasses("vmkeep.clock", ast.parse(source))) != []


def test_a_dag_takes_operators_and_of_the_engine_values_only():
    """The import contracts hold commands and operators to this, but know no file outside the packages."""
    dags = [name for name in FILES if name.startswith("dags.")]
    taken = {(dag, module) for dag in dags for module, _ in _imports(dag, _tree(dag))}
    ours = {(dag, module) for dag, module in taken if module.partition(".")[0] in {"vmkeep", "vmlab"}}
    assert {(dag, it) for dag, it in ours if not it.startswith(("vmkeep.model", "vmkeep.flows"))} == set()


def test_a_door_names_only_what_is_there():
    inside: defaultdict[str, set[str]] = defaultdict(set)
    for module in FILES:
        package, _, name = module.rpartition(".")
        inside[package].add(name)
    missing = {
        package: _door(package) - {name for _, name in _imports(package, _tree(package))} - inside[package]
        for package in PACKAGES - OPEN
    }
    assert {package: names for package, names in missing.items() if names} == {}


LAZY = sorted(name for name in PACKAGES if "loaded_on_use(__name__" in FILES[name].read_text())


def _homes(package: str) -> dict[str, str]:
    values = (
        node.value for node in _tree(package).body if isinstance(node, ast.Assign) and "_HOMES" in ast.unparse(node)
    )
    return ast.literal_eval(next(values))


@pytest.mark.parametrize("package", LAZY)
def test_what_is_loaded_on_use_is_what_type_checkers_see(package):
    seen = (node for node in ast.walk(_tree(package)) if isinstance(node, ast.ImportFrom))
    inside = {alias.name: str(node.module).removeprefix(f"{package}.") for node in seen for alias in node.names}
    assert {name: home for name, home in inside.items() if name in _door(package)} == _homes(package)


@pytest.mark.parametrize("package", LAZY)
def test_a_name_that_is_loaded_on_use_is_no_modules_name(package):
    """Python sets a loaded module as a name of its package, so that the package would hand out the module instead."""
    assert {name for name in _homes(package) if f"{package}.{name}" in FILES} == set()


def test_every_room_tells_what_it_is():
    assert [package for package in sorted(PACKAGES) if not ast.get_docstring(_tree(package))] == []


def test_a_room_tells_only_of_what_is_there():
    modules = {name.rpartition(".")[2] for name in FILES}
    told = {package: set(re.findall(r"``([a-z_]+)``", ast.get_docstring(_tree(package)) or "")) for package in PACKAGES}
    unknown = {package: words - NO_MODULES - modules - _door(package) for package, words in told.items()}
    assert {package: words for package, words in unknown.items() if words} == {}

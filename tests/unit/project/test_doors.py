"""No room has an inside that others import from: a package's ``__all__`` is its door, names and modules alike."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = {"vmkeep": ROOT / "include", "vmkeep_airflow": ROOT / "plugins"}
CALLERS = (*(base / name for name, base in SOURCES.items()), ROOT / "dags", ROOT / "demo")

# The modules of these are the door: errors, clock and privacy at the top, and the operators by their file names.
OPEN = {"vmkeep", "vmkeep_airflow", "vmkeep_airflow.operators", "vmkeep_airflow.hooks"}


def _dotted(path: Path) -> str:
    base = next((base for base in SOURCES.values() if path.is_relative_to(base)), ROOT)
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


FILES = {_dotted(path): path for top in CALLERS for path in sorted(top.rglob("*.py"))}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def _door(package: str) -> set[str]:
    for node in ast.parse(FILES[package].read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield package and name of each thing that a file takes from our packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.rpartition(".")[0], alias.name.rpartition(".")[2]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield node.module, alias.name


def _trespasses(importer: str, path: Path) -> Iterator[str]:
    for module, name in _imports(path):
        inside = module if module in PACKAGES else module.rpartition(".")[0]
        if inside not in PACKAGES or inside in OPEN or importer == inside or importer.startswith(f"{inside}."):
            continue
        taken = name if module in PACKAGES else module.rpartition(".")[2]
        if f"{inside}.{taken}" not in PACKAGES and taken not in _door(inside):
            yield f"{importer}: {taken} of {inside} is not at the door"


@pytest.mark.parametrize("importer", sorted(FILES))
def test_a_room_is_entered_through_its_door(importer):
    assert list(_trespasses(importer, FILES[importer])) == []


@pytest.mark.parametrize("package", sorted(PACKAGES - OPEN))
def test_a_door_names_only_what_is_there(package):
    names = _door(package)
    bound = {name for _, name in _imports(FILES[package])} | {
        module.rpartition(".")[2] for module in FILES if module.rpartition(".")[0] == package
    }
    assert names <= bound


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_room_tells_what_it_is(package):
    assert ast.get_docstring(ast.parse(FILES[package].read_text()))

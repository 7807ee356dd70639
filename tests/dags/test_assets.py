"""The assets that other DAGs are scheduled on."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG
from vmkeep_airflow.assets import restore_points_by, restore_points_of

OPERATORS = Path(__file__).parents[2] / "plugins/vmkeep_airflow/operators"


@pytest.mark.parametrize(
    ("vm", "name"),
    [
        ("app01", "vmkeep_restore_points/app01"),
        ("Büro 1", "vmkeep_restore_points/B%C3%BCro%201"),
        ("s3://x", "vmkeep_restore_points/s3%3A%2F%2Fx"),
        ("a/b", "vmkeep_restore_points/a%2Fb"),
    ],
)
def test_every_vm_has_an_asset_whose_name_any_database_takes(vm, name):
    asset = restore_points_of(vm)
    assert (asset.name, asset.uri) == (name, name)


def test_no_vm_is_called_like_the_asset_of_a_policy():
    assert restore_points_by("nightly").name == "vmkeep_policy_points/nightly"
    assert not restore_points_of("nightly").name.startswith("vmkeep_policy_points/")


def test_reading_a_file_that_names_an_asset_imports_no_provider():
    probe = (
        "import sys, vmkeep_airflow.assets as assets\n"
        "assets.restore_points_of('x')\n"
        "print([name for name in sys.modules if name in ('boto3', 'airflow.providers.amazon.aws')])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=HANG)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_no_task_fails_after_it_has_emitted_events_because_airflow_drops_the_events_of_a_task_that_fails():
    emitting = [path for path in OPERATORS.glob("*.py") if "outlet_events" in path.read_text()]
    assert len(emitting) >= 7
    for path in emitting:
        tree = ast.parse(path.read_text())
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        emits = {name for name, node in functions.items() if "outlet_events" in ast.unparse(node)}
        assert not {"tell"} & names_in(tree), f"{path.name}: tell_in_tries keeps the events of the last try"
        for name in emits | {"execute"}:
            raised = [line for line in lines_of(functions[name], ast.Raise) if line > first(functions[name], emits)]
            assert raised == [], f"{path.name}:{raised[0]} raises after {name} has emitted events"


def names_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def lines_of(node: ast.AST, kind: type[ast.AST]) -> list[int]:
    return [found.lineno for found in ast.walk(node) if isinstance(found, kind)]


def first(function: ast.FunctionDef, emits: set[str]) -> int:
    """Return the first line that emits an event, by itself or by a function that does."""
    named = {
        node.lineno
        for node in ast.walk(function)
        if (isinstance(node, ast.Name) and node.id in emits)
        or (isinstance(node, ast.Attribute) and node.attr in emits)
        or (isinstance(node, ast.Constant) and node.value == "outlet_events")
    }
    return min(named, default=10**9)

"""The exported requirements say what the lock says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SITE = ("--extra", "all", "--no-dev")
WHAT = (*SITE, "--group", "test")


def exported(*options: str, what: tuple[str, ...] = WHAT) -> str:
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "export", "--quiet", "--frozen", "--no-header", "--no-emit-project", *what, *options]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("name", "what"), [("requirements.txt", WHAT), ("requirements-site.txt", SITE)])
def test_each_list_of_requirements_is_what_the_lock_exports(name, what):
    lines = (ROOT / name).read_text().splitlines(keepends=True)
    body = "".join(
        line for line in lines if not line.startswith("# This file") and not line.startswith("#    uv export")
    )

    assert body == exported(what=what), f"{name} is stale: run `make requirements`"


def test_an_installation_has_no_compiler_which_only_the_lab_needs():
    assert "\nziglang==" not in exported("--no-hashes", what=SITE)


def test_the_packages_asked_for_are_required():
    required = exported("--no-hashes")

    for package in ("apache-airflow", "pyvmomi", "apache-airflow-providers-amazon", "great-expectations", "pytest"):
        assert f"\n{package}==" in required

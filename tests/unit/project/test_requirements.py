"""The exported requirements say what the lock says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WHAT = ("--extra", "all", "--extra", "quality", "--no-dev", "--group", "test")


def exported(*options: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "export", "--quiet", "--frozen", "--no-header", "--no-emit-project", *WHAT, *options]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_requirements_txt_is_what_the_lock_exports():
    lines = (ROOT / "requirements.txt").read_text().splitlines(keepends=True)
    body = "".join(
        line for line in lines if not line.startswith("# This file") and not line.startswith("#    uv export")
    )

    assert body == exported(), "requirements.txt is stale: run `make requirements`"


def test_the_packages_asked_for_are_required():
    required = exported("--no-hashes")

    for package in ("apache-airflow", "pyvmomi", "apache-airflow-providers-amazon", "great-expectations", "pytest"):
        assert f"\n{package}==" in required

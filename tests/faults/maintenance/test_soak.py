"""A short soak; ``make soak`` runs long ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_short_soak_finds_every_sealed_point_as_it_was():
    """In a process of its own: it forks, and has a small pack size."""
    command = [sys.executable, "-m", "tests.soak", "--seconds", "6", "--seed", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0\n" not in [line for line in done.stdout.splitlines(True) if line.startswith(("points sealed", "prunes"))]

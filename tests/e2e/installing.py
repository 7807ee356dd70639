"""Builds the project's wheel, and makes environments that hold it and the lock's packages: without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]
_UV = Path(sys.executable).with_name("uv")


def build_wheel(folder: Path) -> Path:
    """Build as a release does, from the files of this checkout."""
    _run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A virtual environment in which nothing of the checkout can be imported."""

    folder: Path

    def run(self, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, with no other one on the PATH, and a home folder of its own."""
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.folder, env={"PATH": str(self.folder / "bin"), "HOME": str(self.folder), **variables},
            capture_output=True, text=True, check=False, timeout=HANG,
        )  # fmt: skip

    def well(self, program: str, *arguments: str, **variables: str) -> str:
        """Run a program that has to succeed; return what it printed."""
        done = self.run(program, *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def install(wheel: Path, folder: Path, *extras: str) -> Environment:
    """Make an environment of the packages that the lock has for these extras, and of the wheel."""
    chosen = [option for extra in extras for option in ("--extra", extra)]
    _run(_UV, "sync", "--quiet", "--frozen", "--no-dev", "--no-install-project", *chosen, into=folder)
    python = ["--python", str(folder / "bin" / "python")]
    _run(_UV, "pip", "install", "--quiet", "--no-deps", *python, str(wheel))
    _run(_UV, "pip", "check", "--quiet", *python)  # by the wheel's own metadata
    return Environment(folder)


def _run(program: str | Path, *arguments: str, into: Path | None = None) -> None:
    environment = os.environ | ({"UV_PROJECT_ENVIRONMENT": str(into), "UV_PYTHON": sys.executable} if into else {})
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run([program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

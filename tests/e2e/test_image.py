"""The steps of the Dockerfile make what they promise, on a bare Debian tree.

Docker is not needed. A tree of debootstrap stands for the base image ``python:3.11-slim-bookworm``, with Debian's own
Python 3.11 in its place, and each instruction is carried out in it by ``chroot``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")]

ROOT = Path(__file__).parents[2]
BASE = "python:3.11-slim-bookworm"
OF_THE_TREE = {
    # Debian's Python refuses packages beside its own, and that of the base image does not.
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "UV_BREAK_SYSTEM_PACKAGES": "1",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}
"""Environment by which the tree does as the base image does."""


@dataclass
class Stage:
    """An image, as far as it is built."""

    tree: Path
    environment: dict[str, str]
    folder: str = "/"
    user: str = "root"
    arguments: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> str:
        """Run a shell command as the user of the stage; return its output."""
        change = ["chroot", *([] if self.user == "root" else [f"--userspec={self.user}"]), str(self.tree)]
        shell = ["/bin/sh", "-c", f"cd {shlex.quote(self.folder)} && {command}"]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "HOME": "/tmp"}
        done = subprocess.run(
            [*change, *shell], env=environment | OF_THE_TREE | self.environment | self.arguments,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def copy(self, words: list[str]) -> None:
        """Copy files of the checkout that git knows."""
        *sources, target = (word for word in words if not word.startswith("--"))
        into = self.tree / self.folder.lstrip("/") / target
        for source in sources:
            listed = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True, check=True)
            for name in listed.stdout.splitlines():
                inside = Path(name).relative_to(source) if (ROOT / source).is_dir() else Path(Path(name).name)
                (into / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, into / inside)


def instructions() -> Iterator[tuple[str, str]]:
    """Yield each instruction of the Dockerfile with its text, on one line."""
    whole = ""
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        whole += line.rstrip("\\")
        if not line.endswith("\\"):
            name, _, text = whole.partition(" ")
            yield name, text.strip()
            whole = ""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("image") / "base"
    packages = "python3,python3-pip,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(tree)], check=True)
    (tree / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    # The way out of this machine, and the authorities that it believes.
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(Path("/", name), tree / name)
    return tree


@pytest.fixture(scope="module")
def stages(base: Path) -> dict[str, Stage]:
    """Carry out the whole Dockerfile; return its images by name."""
    built: dict[str, Stage] = {}
    stage = Stage(tree=base, environment={})
    for name, text in instructions():
        words = shlex.split(text)
        match name:
            case "FROM":
                source, _, alias = words
                origin = Stage(tree=base, environment={}) if source == BASE else built[source]
                tree = base.with_name(alias)
                subprocess.run(["cp", "-a", "--reflink=auto", str(origin.tree), str(tree)], check=True)
                stage = built[alias] = Stage(
                    tree=tree, environment=dict(origin.environment), folder=origin.folder, user=origin.user
                )
            case "RUN":
                stage.run(text)
            case "COPY":
                stage.copy(words)
            case "ENV":
                stage.environment |= dict(word.split("=", 1) for word in words)
            case "ARG":
                stage.arguments |= dict(word.split("=", 1) for word in words)
            case "WORKDIR":
                stage.folder = text
                (stage.tree / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = text
            case _:
                pytest.fail(f"nobody has taught this test the instruction {name}")
    return built


def test_the_image_of_airflow_has_the_command_the_dags_and_airflow_for_a_user_without_rights(
    stages: dict[str, Stage],
) -> None:
    image = stages["airflow"]

    assert image.user == "airflow"
    assert image.run("id -u").strip() == "50000"
    assert "vmkeep" in image.run("vmkeep --version")
    assert "OK" in image.run("python -c 'import vmkeep_airflow.provider, airflow; print(\"OK\")'")
    assert "vm_backup" in image.run("python -c 'import vmkeep_airflow, pathlib; "
                                    "print(*pathlib.Path(\"/opt/vmkeep/dags\").iterdir())'")  # fmt: skip
    image.run("touch /opt/airflow/logs/mine /srv/vmkeep/mine && test -L /etc/mtab")
    image.run("! touch /opt/vmkeep/mine 2>/dev/null")


def test_the_image_of_the_lab_makes_the_lab(stages: dict[str, Stage]) -> None:
    assert "Usage" in stages["lab"].run("gcc --version > /dev/null && vmlab --help")


def test_the_image_of_s3_has_the_server(stages: dict[str, Stage]) -> None:
    stages["s3"].run("weed version")

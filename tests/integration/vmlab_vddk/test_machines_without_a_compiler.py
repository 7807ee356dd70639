"""A machine whose C compiler is missing or broken: the lab starts all the same, or says what to install."""

import ctypes
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.patience import HANG
from vmlab.cli import main
from vmlab.native import BuildError, compiling

SERVE = """
import sys
sys.modules["ziglang"] = None  # as if it were not installed
from vmlab.cli import main
main(["serve", "--dir", sys.argv[1]])
"""


def broken_compiler(folder: Path) -> Path:
    """A folder whose `cc` compiles nothing, as a compiler without the C library's headers."""
    folder.mkdir()
    script = folder / "cc"
    script.write_text("#!/bin/sh\necho 'fatal error: stdio.h: No such file or directory' >&2\nexit 1\n")
    script.chmod(0o755)
    return folder


def test_serving_without_any_compiler_says_what_to_install_and_touches_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", SERVE, str(tmp_path / "lab")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no C compiler")
    assert "pip install 'vmkeep[lab]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lab").exists()


@pytest.mark.slow
def test_a_broken_compiler_does_not_stop_the_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(broken_compiler(tmp_path / "bin")))
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(Path.home() / ".cache" / "zig"))  # it compiles the C library once
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert hasattr(ctypes.CDLL(str(compiling.build(compiling.DISK_CORE))), "vl_chain_open")


def test_when_every_compiler_fails_each_ones_words_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{broken_compiler(tmp_path / 'bin')}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    monkeypatch.setattr(compiling, "FLAGS", ("-no-such-flag-anywhere",))
    with pytest.raises(BuildError, match=r"(?s)bin/cc .*stdio\.h.*pip install"):
        compiling.build(compiling.DISK_CORE)
    assert not list(tmp_path.glob("cache/vmlab/*/*"))


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match=r"file/vmlab.*XDG_CACHE_HOME"):
        compiling.build(compiling.DISK_CORE)


def test_a_relative_cache_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiling.build(compiling.DISK_CORE)
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    (home / ".cache" / "vmlab").symlink_to(made.parent.parent)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.chdir(tmp_path)
    assert compiling.build(compiling.DISK_CORE) == home / ".cache" / "vmlab" / made.parent.name / made.name
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(BuildError, match="XDG_CACHE_HOME"):
        compiling.build(compiling.DISK_CORE)
    assert not (tmp_path / "relative").exists()


@pytest.mark.parametrize("arguments", [["-h"], ["serve", "-h"], ["--help"]])
def test_the_labs_command_explains_itself(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.output[:6]) == (0, "Usage:")


def test_the_labs_command_tells_its_version() -> None:
    done = CliRunner().invoke(main, ["--version"], prog_name="vmlab")
    assert done.output == f"vmlab {version('vmkeep')}\n"


def test_a_library_made_once_needs_no_compiler_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiling.build(compiling.DISK_CORE)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert compiling.build(compiling.DISK_CORE) == made

"""The shells that run commands in a guest, tried on a real shell; and what is kept of their output."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.patience import HANG, eventually
from vmkeep.vsphere.guestcommands import HEAD, TAIL, shortened
from vmkeep.vsphere.guestshells import program_spec


def as_tools_do(command: str, output: Path) -> list[str]:
    """The command line by which VMware Tools start a program on Linux."""
    spec = program_spec(command, str(output), windows=False)
    return ["/bin/bash", "-c", f'"{spec.programPath}" {spec.arguments}']


@pytest.mark.parametrize(("command", "code", "printed"), [
    ("echo 'it''s' \"$((1 + 1))\"; echo wrong >&2; exit 3", 3, "its 2\nwrong\n"),
    ("true", 0, "\n"),
    ("/nowhere/freeze", 127, "not found"),
    ("echo a | tr a b", 0, "b\n"),
])  # fmt: skip
def test_a_command_of_the_user_keeps_its_quotes_its_exit_code_and_its_output(tmp_path, command, code, printed):
    output = tmp_path / "out put"

    ended = subprocess.run(as_tools_do(command, output), check=False, timeout=HANG, capture_output=True)

    assert ended.returncode == code
    assert printed in output.read_text()


def test_the_output_does_not_hold_up_a_command_that_froze_the_file_system(tmp_path):
    os.mkfifo(frozen := tmp_path / "out")  # nobody reads: whoever writes there waits

    process = subprocess.Popen(as_tools_do("echo frozen; exit 5", frozen), stdout=subprocess.DEVNULL)

    assert process.wait(HANG) == 5
    assert "frozen" in frozen.read_text()  # as soon as somebody thaws


def test_a_command_ends_though_it_leaves_a_process_behind_that_holds_the_lock(tmp_path):
    os.mkfifo(lock := tmp_path / "lock")
    command = f"(read line < {lock}; echo released) & echo locked; exit 4"

    process = subprocess.Popen(as_tools_do(command, output := tmp_path / "out"))

    assert process.wait(HANG) == 4
    eventually(lambda: output.exists() and "locked" in output.read_text())
    lock.write_text("go\n")


def test_everything_that_a_terminated_command_started_ends_with_it(tmp_path):
    os.mkfifo(alive := tmp_path / "alive")  # read to its end: until every process that holds it is gone
    command = f"exec 3> {alive}; echo begun >&3; sleep 600 & sleep 600"
    process = subprocess.Popen(as_tools_do(command, tmp_path / "out"))
    with alive.open() as held:
        assert held.readline() == "begun\n"

        process.send_signal(signal.SIGTERM)

        assert held.read() == ""
    assert process.wait(HANG) != 0


def test_a_command_of_windows_runs_in_its_own_shell():
    spec = program_spec('"C:\\Program Files\\db\\freeze.exe" /all', r"C:\Temp\out.log", windows=True)

    assert spec.programPath == r"C:\Windows\System32\cmd.exe"
    assert spec.arguments == r'/s /c "("C:\Program Files\db\freeze.exe" /all) > "C:\Temp\out.log" 2>&1 < NUL"'


def test_a_long_output_keeps_its_beginning_and_its_end_and_nothing_that_moves_a_cursor():
    printed = b"first\x1b[2J" + b"x" * 100_000 + b"\xfflast\n"
    text = shortened(io.BytesIO(printed))

    assert text.startswith("first [2J")
    assert text.endswith("�last")
    assert f"{len(printed) - HEAD - TAIL} bytes left out" in text
    assert len(text) < HEAD + TAIL + 100
    assert shortened(io.BytesIO(b"")) == ""

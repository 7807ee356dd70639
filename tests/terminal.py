"""The command line as a person sees it: in a process whose input and output are a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def on_a_terminal(*arguments: str, columns: int = 100, typed: str = "") -> tuple[int, str]:
    """Run a command on a terminal. Return its exit code, and what the terminal shows, also of what was typed.

    :param columns: width of the terminal.
    :param typed: what the person types, who does not wait for the question.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "vmkeep.cli.main", *arguments]
    os.write(ours, typed.encode())
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    ) as run:
        os.close(theirs)
        output = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal is closed
                break
            if not part:
                break
            output += part
        os.close(ours)
        status = run.wait()
    return status, output.decode()


def lines_on_a_terminal(*arguments: str, columns: int) -> list[str]:
    """Run a command that ends well on a terminal of that width. Return its lines."""
    status, output = on_a_terminal(*arguments, columns=columns)
    assert status == 0, output
    return [line.rstrip() for line in output.splitlines()]

"""Work of which nobody knows the end counts on a terminal, and nowhere else, and leaves nothing of it."""

from __future__ import annotations

import io
import sys

import pytest

from tests.command_line import run_here
from tests.guest_files import image
from vmkeep.cli import countline
from vmkeep.images import import_images
from vmkeep.model.job import Progress
from vmkeep.repository import create_repository

ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def event(done):
    return Progress(phase="list", bytes_done=done, bytes_total=0)


def seen_at_a_terminal(monkeypatch):
    """Standard error as a terminal, and a clock that goes on by a second each time that somebody looks."""
    seconds = iter(range(1000))
    monkeypatch.setattr(countline.time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def test_the_count_stands_below_what_is_printed_and_vanishes_at_the_end(monkeypatch):
    terminal = seen_at_a_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", terminal)
    with countline.count_line(hidden=False) as line:
        line.show(event(1))
        line.echo("a")
        line.show(event(3000))

    assert terminal.getvalue() == f"{ERASE}list: 1 entry, 1/s{ERASE}a\n{ERASE}list: 3,000 entries, 1,500/s{ERASE}"


def test_bytes_are_told_as_a_size_and_a_rate(monkeypatch):
    terminal = seen_at_a_terminal(monkeypatch)
    with countline.count_line(hidden=False, of_bytes=True) as line:
        line.show(event(3 << 20))

    assert "list: 3.0 MiB, 3.0 MiB/s" in terminal.getvalue()


def test_a_line_about_work_of_some_seconds_vanishes_at_its_end_also_by_an_error(monkeypatch):
    terminal = seen_at_a_terminal(monkeypatch)

    def fail():
        assert terminal.getvalue() == f"{ERASE}it loads"
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), countline.passing_line("it loads", hidden=False):
        fail()
    with countline.passing_line("unseen", hidden=True):
        pass
    assert terminal.getvalue() == f"{ERASE}it loads{ERASE}"


def test_a_count_is_not_drawn_for_each_of_many_entries(monkeypatch):
    terminal = seen_at_a_terminal(monkeypatch)
    monkeypatch.setattr(countline.time, "monotonic", lambda: 7.0)
    with countline.count_line(hidden=False) as line:
        for done in range(1000):
            line.show(event(done))

    assert terminal.getvalue() == ""


@pytest.mark.parametrize("case", ["hidden", "no terminal", "dumb"])
def test_nothing_is_drawn_for_scripts_files_and_dumb_terminals(monkeypatch, case):
    terminal = seen_at_a_terminal(monkeypatch)
    if case == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if case == "no terminal":
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    with countline.count_line(hidden=case == "hidden") as line:
        line.show(event(1))
        line.warn("careful")

    assert terminal.getvalue() == "warning: careful\n"


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counting")
    import_images(create_repository(str(folder / "repository")), [image("ext3-plain", folder)], name="a")
    return str(folder / "repository")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("find", "latest:a"), "list: "),
        (("ls", "-R", "latest:a", "disk0:/"), "list: "),
        (("ls", "-R", "--sha256", "latest:a", "disk0:/"), "hash: "),
        (("diff", "latest:a", "latest:a"), "compare: "),
        (("index", "latest:a"), "index: "),
    ],
    ids=["find", "ls", "sha256", "diff", "index"],
)
def test_long_work_on_the_files_of_a_point_counts(where, monkeypatch, arguments, told):
    monkeypatch.setattr(countline, "_PAUSE", 0)
    monkeypatch.setattr(countline, "_can_erase", lambda: True)

    assert f"{ERASE}{told}" in run_here("point", "files", *arguments, "-r", where).stderr
    if arguments[0] != "index":
        assert ERASE not in run_here("point", "files", *arguments, "--json", "-r", where).stderr

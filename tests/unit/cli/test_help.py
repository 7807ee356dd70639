"""``--help``: every command and option says in words what it does."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.repository import create_repository


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(cli))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_of_every_command_is_explained(path):
    options = [parameter for parameter in ALL[path].params if isinstance(parameter, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_the_first_page_says_of_each_group_what_its_own_page_says():
    page = CliRunner().invoke(cli, ["--help"], terminal_width=200).output

    for (name, *rest), group in ALL.items():
        if not rest:
            assert f"{name} {(group.help or '').splitlines()[0]}" in " ".join(page.split())


@pytest.mark.parametrize("path", [(), *(path for path in ALL if isinstance(ALL[path], click.Group))], ids=" ".join)
@pytest.mark.parametrize("width", [60, 80])
def test_no_page_cuts_off_what_it_says_of_a_command(path, width):
    page = CliRunner().invoke(cli, [*path, "--help"], terminal_width=width).output

    said = " ".join(page.split())
    assert "..." not in said.partition("Commands:")[2]
    for each, command in ALL.items():
        if each[:-1] == path:
            assert command.get_short_help_str(10_000) in said


def test_a_repository_is_counted_in_sizes_that_people_read(tmp_path):
    create_repository(str(tmp_path / "repo"))

    page = CliRunner().invoke(cli, ["repo", "stats", "-r", str(tmp_path / "repo")]).output

    assert "pack bytes 0 B" in " ".join(page.split())

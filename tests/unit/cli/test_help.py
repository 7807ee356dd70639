"""``--help``: every command and option says in words what it does."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from vmkeep.cli import settings
from vmkeep.cli.main import cli
from vmkeep.cli.pages import Command, Option, Section
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


VERBS = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


@functools.cache
def page(*path: str) -> str:
    """The page of a command, which several tests read and none changes."""
    return CliRunner().invoke(cli, [*path, "--help"], terminal_width=100).output


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_the_options_of_a_command_stand_in_sections_in_one_order(path):
    names = "|".join(Section)
    found = re.findall(rf"^({names}):$", page(*path), re.MULTILINE)

    assert isinstance(VERBS[path], Command)
    assert found == [section for section in Section if section in found]
    assert found[-1] == Section.HOW
    assert "Options:" not in page(*path)


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_a_command_ends_with_examples_that_it_would_take(path):
    command = VERBS[path]
    assert isinstance(command, Command)
    assert command.examples
    assert page(*path).splitlines()[-1].strip() == list(command.examples.values())[-1]
    for line in command.examples.values():
        words = shlex.split(re.search(r"vmkeep [^>)]*", line)[0])[1:]
        assert tuple(words[: len(path)]) == path
        assert command.make_context("vmkeep", words[len(path) :])


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_variables_are_told_in_one_place_and_on_no_other_page(path):
    assert [option.variable for option in settings.SETTINGS if option.variable in page(*path)] == []


def test_the_one_place_tells_every_variable_and_every_key_of_the_file():
    told = CliRunner().invoke(cli, ["help", "environment"], terminal_width=100).output

    assert "vmkeep help environment" in " ".join(page().split())
    for setting in settings.SETTINGS:
        assert re.search(rf"^  {setting.variable} ", told, re.MULTILINE)
        assert bool(re.search(rf"^  {setting.key} ", told, re.MULTILINE)) is not setting.secret


def test_the_variables_are_told_in_columns_of_one_width():
    told = CliRunner().invoke(cli, ["help", "environment"], terminal_width=100).output
    section = told.partition("Environment variables:")[2].partition("Configuration file")[0]
    starts = {
        len(line) - len(line.split("  ", 2)[2].lstrip())
        for line in section.splitlines()
        if re.match(r"  VMK.*  ", line)
    }
    indents = {len(line) - len(line.lstrip()) for line in section.splitlines() if line.startswith("   ")}
    assert len(starts | indents) == 1


def test_no_example_names_a_point_by_its_day_because_an_id_is_none():
    for command in ALL.values():
        for line in getattr(command, "examples", {}).values():
            assert not re.search(r" 20\d{6}( |T|$)", line), line


def test_every_variable_that_an_option_takes_is_a_setting():
    options = [option for command in ALL.values() for option in command.params if isinstance(option, Option)]

    taken = {option.envvar: option for option in options if option.envvar}

    assert {setting.variable for setting in settings.SETTINGS if setting.option} == set(taken)
    for setting in settings.SETTINGS:
        if setting.option:
            assert setting.option in taken[setting.variable].opts


def test_the_page_of_a_command_can_be_asked_for_by_its_name():
    assert CliRunner().invoke(cli, ["help", "backup", "run"], terminal_width=100).output == page("backup", "run")
    assert "no command 'vmkeep backup walk'" in str(CliRunner().invoke(cli, ["help", "backup", "walk"]).exception)


@pytest.mark.parametrize("arguments", [["--help"], ["help", "environment"]], ids=" ".join)
def test_the_first_page_waits_for_no_large_library(arguments):
    large = "pyVmomi", "numpy", "obstore", "sqlalchemy", "paramiko", "cryptography", "botocore", "rich", "zstandard"
    program = f"import sys; sys.argv = ['vmkeep', *{arguments}]\nfrom vmkeep.cli.main import main\n" + (
        f"try: main()\nexcept SystemExit: sys.stderr.write(' '.join({large} & sys.modules.keys()))"
    ).replace(str(large), str(set(large)))

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr == ""


def test_backups_restores_and_upkeep_wait_for_no_database_library():
    program = "import sys, vmkeep.flows.backup, vmkeep.flows.restore, vmkeep.flows.upkeep; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"sqlalchemy", "vmkeep.catalog"} & set(done.stdout.split())


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

    assert "bytes of the packs 0 B" in " ".join(page.split())


@pytest.mark.parametrize("line", [["bakcup", "run"], ["help", "bakcup"], ["help", "backup", "rnu"]])
def test_a_misspelled_command_is_answered_with_the_nearest_one(line):
    error = CliRunner().invoke(cli, line, standalone_mode=False).exception
    answer = error.format_message() if isinstance(error, click.ClickException) else str(error)

    assert "Did you mean '" + ("run" if "rnu" in line else "backup") + "'?" in answer


def test_no_setting_is_explained_by_the_one_before_it():
    assert [each.key for each in settings.SETTINGS if " with that " in each.meaning] == []


def test_the_commands_are_listed_in_alphabetical_order():
    names = cli.list_commands(click.Context(cli))

    assert names == sorted(names)


DOCUMENTS = {"completion", "help", "dr order", "dr schema", "policy schema", "restore schema"}
"""Commands that print a text that is a document by itself."""


def test_every_other_command_can_print_its_answer_as_a_document_for_scripts():
    options = {" ".join(path): {name for each in verb.params for name in each.opts} for path, verb in VERBS.items()}

    assert {path for path, names in options.items() if "--json" not in names} == DOCUMENTS

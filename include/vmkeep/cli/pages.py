"""Commands whose help pages are in sections, with examples at the end.

Click lists all options of a command in one long table, and cuts off the sentences about a group's commands. These
classes do neither. They are our own, because a library (cloup, rich-click) costs more than these few lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib import import_module
from typing import Any, TypeVar

import click
from click.exceptions import NoSuchCommand

from vmkeep.cli.configuration import in_file
from vmkeep.cli.settings import Setting

F = TypeVar("F", bound=Callable[..., Any])


class Section(StrEnum):
    """The sections of a page, in their order."""

    WHAT = "What"
    KEEP = "Keep"
    WHERE = "Where"
    NEW_VM = "New VM"
    VSPHERE = "vSphere"
    HOW = "How"


class Option(click.Option):
    """An option that stands in a section, and whose value may come from the configuration file."""

    def __init__(
        self, *args: Any, section: Section = Section.HOW, setting: Setting | None = None, **attrs: Any
    ) -> None:
        """:param setting: gives the option its variable, and its key in the configuration file."""
        if setting is not None:
            attrs.setdefault("envvar", setting.variable)
        super().__init__(*args, **attrs)
        self.section = section
        self.setting = setting

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the value and its source; the file comes after the environment and before the default."""
        value, source = super().consume_value(ctx, opts)
        if source in (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT):
            return value, source
        if self.setting is None or ctx.resilient_parsing or (found := in_file(self.setting)) is None:
            return value, source
        return found, click.core.ParameterSource.DEFAULT_MAP


def option(
    *names: str, section: Section = Section.HOW, setting: Setting | None = None, **attrs: Any
) -> Callable[[F], F]:
    """Return a decorator that adds one option."""
    return click.option(*names, cls=Option, section=section, setting=setting, **attrs)


class Command(click.Command):
    """A command whose page ends with examples."""

    def __init__(self, *args: Any, examples: Mapping[str, str] | None = None, **attrs: Any) -> None:
        """:param examples: sentence → command line."""
        super().__init__(*args, **attrs)
        self.examples = examples or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one table for each section that has options."""
        for section in Section:
            rows = [
                row
                for parameter in self.get_params(ctx)
                if isinstance(parameter, click.Option)
                and (parameter.section if isinstance(parameter, Option) else Section.HOW) is section
                and (row := parameter.get_help_record(ctx)) is not None
            ]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own that can be copied."""
        if self.examples:
            with formatter.section("Examples"):
                for sentence, line in self.examples.items():
                    formatter.write(f"{'':>{formatter.current_indent}}{sentence}:\n")
                    formatter.write(f"{'':>{formatter.current_indent + 2}}{line}\n")


class LateGroup(click.Group):
    """A group that loads a command of another file only when it is used, because each noun and verb needs others."""

    def __init__(self, *args: Any, late: Mapping[str, str] | None = None, **attrs: Any) -> None:
        """:param late: name of a command → its place, as ``module:attribute``."""
        super().__init__(*args, **attrs)
        self.late = late or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the alphabet."""
        return sorted({*super().list_commands(ctx), *self.late})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, and load it if it is one of another file."""
        if cmd_name not in self.late:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.late[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and name the nearest one where there is none, because click looks among loaded ones."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from error


class Verbs(LateGroup):
    """The verbs of a noun, each told of in one whole sentence."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs, each with the first sentence of its own page."""
        verbs = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.get_short_help_str(sys.maxsize)) for name, verb in verbs if verb])


def command(name: str, **attrs: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a command with sections, for a verb whose file is not its noun's."""
    return click.command(name, cls=Command, **attrs)

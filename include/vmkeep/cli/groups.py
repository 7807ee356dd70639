"""Groups of commands, whose pages tell of each command in a whole sentence."""

from __future__ import annotations

import sys

import click


class Verbs(click.Group):
    """The verbs of a noun. Click would cut what it says of each off at the width of the terminal."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs, each with the first sentence of its own page."""
        verbs = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.get_short_help_str(sys.maxsize)) for name, verb in verbs if verb])

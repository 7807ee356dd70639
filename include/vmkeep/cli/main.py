"""``vmkeep``: the entry point, which knows the nouns and how every command ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import shell_complete

from vmkeep.cli.failures import SYSTEM, ending_of, tell
from vmkeep.cli.interrupts import catch_interrupts, ignore_interrupts
from vmkeep.cli.output import LineFormat
from vmkeep.cli.streams import abandon_output, flush_output, prepare_streams, reader_left

READER_LEFT = 141
"""Whoever read the output has gone, e.g. ``head``: what a shell reports of a program that SIGPIPE ended."""
_COMPLETE = "_VMKEEP_COMPLETE"
"""How a shell asks for completions."""

_NOUNS = {
    "backup": "Back up VMs.",
    "catalog": "Rebuild the SQL cache of restore points.",
    "image": "Import raw disk images as a restore point, and export them again.",
    "key": "List, add, replace and remove what opens an encrypted repository.",
    "point": "List, show and pin restore points; try retention rules on them.",
    "repo": "Make, check, prune, copy and repair a repository.",
    "restore": "Restore VMs.",
    "vm": "List and show the VMs of a vCenter, and let those be moved that dead runs hold.",
    "vsphere": "Print the rights that a vCenter user needs.",
}


class Nouns(click.Group):
    """The nouns, each loaded only when it is used: a command that needs no vSphere must not wait for its tables."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the nouns' names."""
        return list(_NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one noun."""
        if cmd_name not in _NOUNS:
            return None
        command: click.Command = getattr(import_module(f"vmkeep.cli.cmd_{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the nouns without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_NOUNS.items()))


@click.group(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="vmkeep", prog_name="vmkeep")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for everything.")
def cli(verbose: int) -> None:
    """Back up and restore VMware vSphere VMs, without an agent in the guest.

    Options that name places and credentials can be set once in the environment:
    VMKEEP_REPOSITORY, VMKEEP_VCENTER, VMKEEP_USER, VMKEEP_PASSWORD or VMKEEP_PASSWORD_FILE,
    VMKEEP_THUMBPRINT or VMKEEP_CA_FILE, VMKEEP_VDDK, VMKEEP_PASSPHRASE or VMKEEP_PASSPHRASE_FILE,
    VMKEEP_LIMIT_RATE.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormat(names=verbose > 0))
    logging.basicConfig(level=level, handlers=[handler])


def main() -> NoReturn:
    """Run the command line; whatever goes wrong is one line on stderr and an exit code of its own."""
    prepare_streams()
    catch_interrupts()
    try:
        _run(sys.argv[1:])
        flush_output()
        ignore_interrupts()  # it is done and told: none comes in time any more
        status = 0
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        status = READER_LEFT  # which rich, that draws the tables, ends a program for
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told in full below
        ignore_interrupts()
        status = _end(error)
        if isinstance(error, KeyboardInterrupt) and threading.active_count() > 1:
            os._exit(status)  # a second interruption has left threads behind, and Python would wait for them
    sys.exit(status)


def _run(arguments: list[str]) -> None:
    """Run one command; click's own ``main`` would take a server's broken connection for a reader that has left."""
    if instruction := os.environ.get(_COMPLETE):
        sys.exit(shell_complete(cli, {}, "vmkeep", _COMPLETE, instruction))
    with suppress(click.exceptions.Exit), cli.make_context("vmkeep", arguments) as context:
        cli.invoke(context)


def _end(error: BaseException) -> int:
    """Say how the command ended; return the exit code."""
    if isinstance(error, BrokenPipeError) and reader_left():
        abandon_output()
        return READER_LEFT
    try:
        status = tell(error, as_json="--json" in sys.argv)
        flush_output()
    except OSError:  # there is nobody left to tell
        abandon_output()
        return SYSTEM if isinstance(error, OSError) else ending_of(error).exit_code
    return status


if __name__ == "__main__":
    main()

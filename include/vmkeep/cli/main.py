"""``vmkeep``: the entry point, with the list of nouns and the one way in which every command ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

import click

from vmkeep.cli.failures import SYSTEM, ending_of, tell
from vmkeep.cli.interrupts import catch_interrupts, ignore_interrupts
from vmkeep.cli.output import LineFormat
from vmkeep.cli.pages import LateGroup
from vmkeep.cli.settings import COMPLETE
from vmkeep.cli.streams import abandon_output, flush_output, prepare_streams, reader_left, require_output, tell_loss
from vmkeep.cli.version import show_versions
from vmkeep.errors import UsageError

READER_LEFT = 141
"""The reader of the output has gone, e.g. ``head``. A shell reports this code of a program that SIGPIPE ended."""

_NOUNS = {
    "backup": "Back up VMs.",
    "catalog": "Rebuild the SQL cache of restore points, and check the quality of its data.",
    "completion": "Print the script that completes vmkeep commands in a shell.",
    "config": "Show the settings, and where each value comes from.",
    "doctor": "Check the installation from end to end, and say what to do.",
    "dr": "Recover from a disaster by a plan, rehearse it, and show what was proved.",
    "guest": "Look into the disks of guests, as restore points hold them.",
    "help": "Explain a command, or the environment variables and the configuration file.",
    "host": "Back up the configurations of ESXi hosts, list them, and write them to files.",
    "image": "Import disk images as a restore point, and export a disk as a raw image.",
    "key": "List, add, replace and remove the key slots of an encrypted repository.",
    "limit": "Show the limits on work at the same time, who uses them, and who waits.",
    "point": "List, show, verify, scan, boot, export, pin and delete restore points; fetch their files.",
    "policy": "Check, list and explain backup policies.",
    "repo": "Make, check, prune, copy and repair a repository.",
    "report": "Report service levels, single windows, locks and proofs, and cost.",
    "restore": "Restore VMs, and single disks of them.",
    "run": "Show the work and the windows of an Airflow; stop a run, and change a rate limit while runs are at work.",
    "setup": "Make the role that a vCenter user needs, and grant it.",
    "target": "List the folders, resource pools, datastores, networks, hosts and LUNs that a restore can go to.",
    "vm": "List and show the VMs of a vCenter, their proofs and last clean points; repair what dead runs left on them.",
    "vsphere": "Print the rights that a vCenter user needs; check which transports reach a VM's disks.",
}


class Nouns(LateGroup):
    """The nouns, each loaded only when it is used, because a command without vSphere should not wait for its tables."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the nouns without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_NOUNS.items()))


@click.group(
    cls=Nouns,
    late={noun: f"vmkeep.cli.cmd_{noun}:{noun}" for noun in _NOUNS},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("-v", "--verbose", count=True, help="Log more to stderr; give it twice for everything.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    callback=show_versions,
    help="Print the versions of vmkeep and of what it works with.",
)
@click.option("--json", "as_json", is_flag=True, is_eager=True, help="With --version: print one JSON document.")
def cli(verbose: int, as_json: bool) -> None:
    """Back up and restore VMware vSphere VMs, without an agent in the guest.

    Places and credentials can be set once, in the environment or in a configuration file: see 'vmkeep help
    environment'. Each command's page ends with examples: see e.g. 'vmkeep backup run --help'.
    """
    if as_json:
        raise UsageError("--json belongs behind the verb, e.g. 'vmkeep point list --json'")
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormat(names=verbose > 0))
    logging.basicConfig(level=level, handlers=[handler])


def main() -> NoReturn:
    """Run the command line; every failure is one line on stderr and an exit code of its own."""
    prepare_streams()
    catch_interrupts()
    try:
        _run(sys.argv[1:])
        flush_output()
        tell_loss()
        ignore_interrupts()  # the command is done: an interruption has nothing left to stop
        status = 0
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        status = READER_LEFT  # rich, which draws the tables, ends a program when its reader leaves
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told in full below
        ignore_interrupts()
        status = _end(error)
        if isinstance(error, KeyboardInterrupt) and threading.active_count() > 1:
            os._exit(status)  # a second interruption has left threads behind, and Python would wait for them
    sys.exit(status)


def _run(arguments: list[str]) -> None:
    """Run one command. Click's own ``main`` would take a server's broken connection for a reader that has left."""
    if instruction := os.environ.get(COMPLETE):
        from vmkeep.cli.cmd_completion import answer_shell  # takes time to import

        sys.exit(answer_shell(cli, instruction))
    if "--json" in arguments:
        require_output()
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

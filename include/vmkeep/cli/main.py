"""``vmkeep``: the entry point, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import json
import logging
import signal
import sys
from importlib import import_module

import click

from vmkeep import __version__
from vmkeep.errors import VmKeepError

INTERRUPTED = 130


_NOUNS = {
    "backup": "Back up VMs.",
    "catalog": "Rebuild the SQL cache of restore points.",
    "image": "Import raw disk images as restore points, and export them again.",
    "key": "List, add and remove what opens an encrypted repository.",
    "point": "List, show and pin restore points; try retention rules on them.",
    "repo": "Make, look at and check a repository.",
    "restore": "Restore VMs.",
    "vm": "List and show the VMs of a vCenter.",
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
@click.version_option(__version__, prog_name="vmkeep")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for everything.")
def cli(verbose: int) -> None:
    """Back up and restore VMware vSphere VMs, without an agent in the guest.

    Options that name places and credentials can be set once in the environment:
    VMKEEP_REPOSITORY, VMKEEP_VCENTER, VMKEEP_USER, VMKEEP_PASSWORD or VMKEEP_PASSWORD_FILE,
    VMKEEP_THUMBPRINT, VMKEEP_VDDK, VMKEEP_PASSPHRASE or VMKEEP_PASSPHRASE_FILE.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command line; errors made on purpose are one line on stderr and an exit code of their own.

    SIGTERM ends a command as Ctrl-C does: by cleaning up, for a snapshot must not stay behind.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("vmkeep: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("vmkeep: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except VmKeepError as error:
        if "--json" in sys.argv:
            document = {"error": str(error), "class": type(error).__name__, "recovery": error.recovery}
            click.echo(json.dumps(document))
        click.echo(f"vmkeep: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

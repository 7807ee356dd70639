"""``vmkeep``: the entry point, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import json
import logging
import sys

import click

from vmkeep import __version__
from vmkeep.cli.cmd_backup import backup
from vmkeep.cli.cmd_catalog import catalog
from vmkeep.cli.cmd_image import image
from vmkeep.cli.cmd_point import point
from vmkeep.cli.cmd_repo import repo
from vmkeep.cli.cmd_restore import restore
from vmkeep.cli.cmd_vm import vm
from vmkeep.errors import VmKeepError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="vmkeep")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for everything.")
def cli(verbose: int) -> None:
    """Back up and restore VMware vSphere VMs, without an agent in the guest.

    Options that name places and credentials can be set once in the environment:
    VMKEEP_REPOSITORY, VMKEEP_VCENTER, VMKEEP_USER, VMKEEP_PASSWORD or VMKEEP_PASSWORD_FILE,
    VMKEEP_THUMBPRINT, VMKEEP_VDDK.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


for command in (backup, catalog, image, point, repo, restore, vm):
    cli.add_command(command)


def main() -> None:
    """Run the command line; errors made on purpose are one line on stderr and an exit code of their own."""
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

"""Reads the folder of policies that a command was given, and says so if none was."""

from __future__ import annotations

from pathlib import Path

from vmkeep.cli.output import warn
from vmkeep.policy import PolicyFile


def read_policies(folder: Path | None) -> tuple[PolicyFile, ...]:
    """Read every policy file of a folder. A warning tells that the example counts where no folder is given.

    :raises NotFoundError: there is no such folder.
    """
    from vmkeep.flows.policies import policies_in  # takes time to import

    if folder is None:
        warn("the policies are the example that comes with vmkeep: set VMKEEP_POLICIES, or give --policies FOLDER")
    return policies_in(folder)

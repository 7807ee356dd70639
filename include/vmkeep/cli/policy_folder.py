"""Reads the folder of policies that a command was given, and says if the example that comes with vmkeep counts."""

from __future__ import annotations

from pathlib import Path

from vmkeep.cli.output import warn
from vmkeep.policy import PolicyFile


def read_policies(folder: Path | None) -> tuple[PolicyFile, ...]:
    """Read every policy file of a folder. Where no folder is given, a warning tells that the example counts.

    A site may work in the folder that comes with vmkeep, so that the texts of its files tell whose they are.

    :raises NotFoundError: there is no such folder.
    """
    from vmkeep.flows.policies import policies_in  # takes time to import

    files = policies_in(folder)
    examples = [read for read in files if read.is_example]
    if folder is None and examples:
        if len(examples) == len(files):
            warn("the policies are the example that comes with vmkeep: set VMKEEP_POLICIES, or give --policies FOLDER")
        else:
            warn(f"{examples[0].path} is the example that comes with vmkeep, and counts: edit it, or remove it")
    return files

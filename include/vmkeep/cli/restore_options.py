"""The options of ``vmkeep restore run``, by the part of the request that they are about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.pages import Section, option
from vmkeep.flows.restore_request import MacAddresses, OnFailure
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.rdm import RDM_WORDS, RdmReplacement
from vmkeep.model.scanning import ScanFirst

F = TypeVar("F", bound=Callable[..., Any])

_RUN = (
    option(
        "--on-conflict",
        section=Section.WHAT,
        type=click.Choice(["abort", "overwrite", "keep"]),
        default="abort",
        show_default=True,
        help="If the VM to restore to exists: 'abort' ends with exit code 12, 'overwrite' writes over its disks, "
        "'keep' leaves it as it is and ends well. With --new-name, no VM is ever written over; the same words then say "
        "whether the content of an RDM may go over the LUN that --lun names.",
    ),
    option(
        "--power-on/--no-power-on",
        section=Section.WHAT,
        default=None,
        help="Start the VM at the end, or leave it off; by default it starts if it ran when it was backed up.",
    ),
    option(
        "--verify",
        section=Section.WHAT,
        type=click.Choice([choice.value for choice in Verify]),
        default=Verify.SAMPLE.value,
        show_default=True,
        help="Part of each written disk to read back and compare: all of it, a sample, or none. If anything differs, "
        "the restore fails and the VM stays off.",
    ),
    option(
        "--on-failure",
        section=Section.WHAT,
        type=click.Choice([choice.value for choice in OnFailure]),
        default=OnFailure.REMOVE.value,
        show_default=True,
        help="If the restore fails or is interrupted: 'remove' removes a new VM, and leaves an existing one off with a "
        "warning in its notes; 'keep' keeps the VM off as it is, so that 'restore resume' can go on.",
    ),
    option(
        "--scan",
        section=Section.WHAT,
        type=click.Choice([choice.value for choice in ScanFirst]),
        default=ScanFirst.NO.value,
        show_default=True,
        help="Scan all files of the point for malware first: 'refuse' restores nothing if something is found (exit "
        "code 95) or a part cannot be scanned (97), 'warn' says the outcome and goes on.",
    ),
    option("--dry-run", section=Section.WHAT, is_flag=True, help="Print the whole plan, and change nothing."),
    option(
        "--vm",
        section=Section.WHERE,
        metavar="VM",
        shell_complete=complete_selectors,
        help="Write over this existing VM; by default the original one, and no other.",
    ),
    option(
        "--new-name",
        section=Section.WHERE,
        metavar="NAME",
        help="Create a new VM of this name instead.",
    ),
)
"""Options of every restore."""
_OVER = (
    option(
        "--disks",
        section=Section.WHAT,
        multiple=True,
        metavar="DISKS",
        help="Write only these disks of the point over the existing VM's, and leave the others as they are: by "
        "address, label or device key, several with commas between. Can be repeated.",
    ),
    option(
        "--disk-map",
        section=Section.WHERE,
        multiple=True,
        metavar="SAVED=TARGET",
        help="Write this disk of the point over that disk of the existing VM, both by address, label or device key. "
        "Both have to be of one size. Other disks are matched by place and UUID. Can be repeated.",
    ),
    option(
        "--all-blocks",
        section=Section.WHAT,
        is_flag=True,
        help="Write every block over an existing VM. By default only blocks that changed since the point are written, "
        "where vSphere can tell them and a sample of the others shows no doubt.",
    ),
    option(
        "--undo",
        section=Section.WHAT,
        type=click.Choice([choice.value for choice in Undo]),
        default=Undo.NONE.value,
        show_default=True,
        help="Keep a snapshot of an existing VM as it was, until 'restore undo' goes back to it or 'restore accept' "
        "removes it.",
    ),
)
"""Options of a restore over an existing VM."""
_NEW_VM = (
    option(
        "--keep-identity",
        section=Section.NEW_VM,
        is_flag=True,
        help="Keep the UUIDs of the original, and its MAC addresses where they are free; by default a new VM gets its "
        "own.",
    ),
    option(
        "--mac-addresses",
        section=Section.NEW_VM,
        type=click.Choice([choice.value for choice in MacAddresses]),
        help="MAC addresses of the network cards: 'keep' keeps each that no other VM on its network has, 'new' gives "
        "new ones. By default they are kept with the identity.",
    ),
    option(
        "--hardware-version",
        section=Section.NEW_VM,
        metavar="vmx-NN",
        help="Lower the VM to this hardware version, for an older host; by default it keeps its own.",
    ),
    option(
        "--mapping",
        section=Section.NEW_VM,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Make a new VM as this file says, which 'point show --mapping' has written. Options beside it have to "
        "agree with it.",
    ),
    option(
        "--folder",
        section=Section.NEW_VM,
        metavar="FOLDER",
        help="VM folder, by name, path or id, as 'target folders' lists them; by default the original's.",
    ),
    option(
        "--resource-pool",
        section=Section.NEW_VM,
        metavar="POOL",
        help="Resource pool, by name, path or id, as 'target pools' lists them; by default the original's.",
    ),
    option(
        "--host",
        section=Section.NEW_VM,
        metavar="HOST",
        help="ESXi host, by name, path or id, as 'target hosts' lists them; by default vSphere chooses one where DRS "
        "is used, and else it is one that has all the VM needs, the original's before others.",
    ),
    option(
        "--datastore",
        section=Section.NEW_VM,
        metavar="DATASTORE",
        help="Datastore, by name, path or id, as 'target datastores' lists them; by default the original's.",
    ),
    option(
        "--disk-datastore",
        "disk_datastores",
        section=Section.NEW_VM,
        multiple=True,
        metavar="DISK=DATASTORE",
        help="Datastore of one disk, named as at --datastore; the disk by address (scsi0:1), label or device key. Can "
        "be repeated.",
    ),
    option(
        "--log-directory",
        section=Section.NEW_VM,
        metavar="'[DATASTORE] FOLDER'",
        help="Existing folder for the VM's logs; by default beside the VM's own files.",
    ),
    option(
        "--snapshot-directory",
        section=Section.NEW_VM,
        metavar="'[DATASTORE] FOLDER'",
        help="Existing folder for the VM's snapshots; by default beside the VM's own files.",
    ),
    option(
        "--suspend-directory",
        section=Section.NEW_VM,
        metavar="'[DATASTORE] FOLDER'",
        help="Existing folder for the VM's memory while it is suspended; by default beside the VM's own files.",
    ),
    option(
        "--network",
        "networks",
        section=Section.NEW_VM,
        multiple=True,
        metavar="OLD=NEW",
        help="Network of the VM's network cards: OLD is the saved network's name or id, or a card's label (Network "
        "adapter 1), NEW a network by name, path or id, as 'target networks' lists them, or 'none' for a card that "
        "starts disconnected. Can be repeated.",
    ),
    option(
        "--connect-networks",
        section=Section.NEW_VM,
        is_flag=True,
        help="Connect the network cards as saved, even if the original is running. By default they then start "
        "disconnected.",
    ),
    option(
        "--physical-rdm",
        section=Section.NEW_VM,
        type=click.Choice(RDM_WORDS),
        metavar="REPLACEMENT",
        default=RdmReplacement.PLACEHOLDER.value,
        show_default=True,
        help="Replacement of each physical-mode RDM: 'placeholder', an empty disk of at most 16 MiB; 'lun', an RDM of "
        "the LUN that --lun names; 'auto', an RDM of a free LUN that is found; 'disk', an ordinary disk of its size, "
        "with the content that --read-lun backed up; or 'omit'. 'lun:virtual', 'auto:physical' and so on choose the "
        "mode of the new RDM, 'disk:thick' and 'disk:eager' the format of the disk.",
    ),
    option(
        "--rdm",
        "rdms",
        section=Section.NEW_VM,
        multiple=True,
        metavar="DISK=REPLACEMENT",
        help="Replacement of this one RDM, physical or virtual, whatever --physical-rdm says of the others. A virtual "
        "one becomes a 'disk' otherwise. Can be repeated.",
    ),
    option(
        "--lun",
        "luns",
        section=Section.NEW_VM,
        multiple=True,
        metavar="DISK=LUN",
        help="Map this RDM to a free LUN, by canonical name or UUID, whatever --physical-rdm says of the others. The "
        "content of an RDM in virtual mode is written over the LUN with --on-conflict overwrite alone. Can be "
        "repeated.",
    ),
)
"""Options of a restore to a new VM."""


def restore_options(function: F) -> F:
    """Add the options of a restore. Each has the name of a field of a request."""
    for add in reversed((*_RUN, *_OVER, *_NEW_VM)):
        function = add(function)
    return function

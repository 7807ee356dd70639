"""The proofs of a restore point, as ``vmkeep point show`` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmkeep.cli.output import one_line
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.errors import UsageError
from vmkeep.flows import points
from vmkeep.model.wording import counted

if TYPE_CHECKING:
    from vmkeep.flows.clean_points import ScanState
    from vmkeep.flows.repositories import Repository
    from vmkeep.model.proofs import PointProof


def show_proofs(proofs: Sequence[PointProof]) -> None:
    """Print a line for each proof, the newest first."""
    zone = shown_zone()
    for proof in proofs:
        result = str(proof.result) if proof.passed else str(proof.result).upper()
        by = f", by {proof.by}" if proof.by else ""
        run = f", run {proof.run}" if proof.run else ""
        files = f" ({', '.join(proof.files)})" if proof.files else ""
        line = f"{proof.kind} {result} at {shown_second(proof.at, zone)} {zone}{by}{run}: {proof.text}{files}"
        click.echo(f"  proof         {one_line(line)}")


def show_scan(state: ScanState) -> None:
    """Print what the malware scans of a point say all together, if there was one."""
    if state.scanned_at is None:
        return
    word = str(state.cleanness)
    word = word.upper() if state.cleanness in ("malware", "in doubt") else word
    zone = shown_zone()
    based = f", with the scans of {counted(len(state.chain), 'older point')}" if state.chain else ""
    line = f"{word} by the scan of {shown_second(state.scanned_at, zone)} {zone}{based}"
    click.echo(f"  malware       {one_line(line)}")


def write_picture(repository: Repository, ref: str, file: Path) -> None:
    """Write the newest picture of a point's screen to a file.

    :raises NotFoundError: the point has none.
    :raises UsageError: the file cannot be written.
    """
    proof, picture = points.picture(repository, ref)
    try:
        file.write_bytes(picture)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error
    zone = shown_zone()
    click.echo(f"{file}: the screen at the {proof.kind} check of {shown_second(proof.at, zone)} {zone}: {proof.text}")

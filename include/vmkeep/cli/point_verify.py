"""``vmkeep point verify``: check restore points, and keep the outcomes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option, selector_option
from vmkeep.cli.output import one_line, print_json, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.who import who
from vmkeep.errors import UsageError

if TYPE_CHECKING:
    from vmkeep.flows.point_checks import PointOutcome

_TIMEOUT = 600
_SIGNS = ("login", "screen")


@command(
    "verify",
    examples={
        "Read a point back, all of it": "vmkeep point verify latest:app01",
        "Look at the file systems of some VMs": "vmkeep point verify -s 'name:db*' --level file-systems",
        "Boot a point": "vmkeep point verify latest:app01 --level boot --timeout 300",
    },
)
@click.argument("refs", metavar="[POINT…]", nargs=-1, shell_complete=complete_points)
@selector_option("Verify the newest point of each VM that fits: by name, folder, address, UUID or managed object id.")
@option(
    "--level", section=Section.WHAT, default="all", show_default=True,
    type=click.Choice(["written", "all", "file-systems", "boot"]),
    help="written: read 5% of the blocks back; all: every block; file-systems: look at partition tables, LVM and the "
    "heads of file systems; boot: start the point in QEMU, without a network.",
)  # fmt: skip
@option(
    "--wait-for", "signs", section=Section.WHAT, multiple=True, metavar="SIGN",
    help="What a boot has to show: login (a log-in prompt), screen (a picture that stands still), or a text. May be "
    "given several times; the first sign counts. By default login and screen.",
)  # fmt: skip
@option(
    "--timeout", "seconds", section=Section.WHAT, type=click.FloatRange(min=1), metavar="SECONDS",
    help=f"Longest wait for a boot, by default {_TIMEOUT}.",
)  # fmt: skip
@option("--memory", section=Section.HOW, type=int, metavar="MIB", help="Memory of a boot, instead of the saved one.")
@option("--cpus", section=Section.HOW, type=int, metavar="N", help="CPUs of a boot, instead of the saved ones.")
@option(
    "--accelerator", section=Section.HOW, type=click.Choice(["auto", "kvm", "tcg"]), default="auto", show_default=True,
    help="auto: KVM if it works here, or else TCG, which is about ten times as slow.",
)  # fmt: skip
@repository_option
@json_option
def verify(
    refs: tuple[str, ...],
    selector: str | None,
    level: str,
    signs: tuple[str, ...],
    seconds: float | None,
    memory: int | None,
    cpus: int | None,
    accelerator: str,
    repository: str | None,
    as_json: bool,
) -> None:
    """Check restore points, and keep the outcome of each check as a proof with its point.

    POINT is a ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. The exit code is 91
    if a check failed. If none failed and a point could not be checked, it is that of the cause: 90 for damage, 62 for a
    full repository. It is 93 if a check could not tell.
    """
    if bool(refs) == bool(selector):
        raise UsageError("name points, or choose VMs with --select, but not both")
    if level != "boot" and (signs or seconds or memory or cpus):
        raise UsageError("--wait-for, --timeout, --memory and --cpus are about a boot: add --level boot")
    from vmkeep.flows import point_checks  # takes time to import
    from vmkeep.flows.booting import Accelerator

    boot = point_checks.BootTest(
        seconds=seconds or _TIMEOUT, wait_for=signs or _SIGNS, accelerator=Accelerator(accelerator), memory_mib=memory,
        cpus=cpus,
    )  # fmt: skip
    request = point_checks.VerifyRequest(level=point_checks.Level(level), boot=boot)
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        points = refs or point_checks.refs_of(opened, selector or "")
        outcomes = point_checks.verify_each(
            opened, points, request, by=who(), bars=bars, tell=_tell, on_done=_drop if as_json else _show
        )
    if as_json:
        print_json({"points": [_document(outcome) for outcome in outcomes]})
    point_checks.require_passed(outcomes)


def _tell(line: str, warning: bool) -> None:
    if warning:
        warn(line)


def _show(outcome: PointOutcome) -> None:
    if outcome.proof is None:
        click.echo(one_line(f"{outcome.point}: could not be checked: {outcome.problem}"))
    else:
        proof = outcome.proof
        click.echo(one_line(f"{outcome.point}: {proof.kind} {proof.result}: {proof.text}"))


def _document(outcome: PointOutcome) -> dict[str, object]:
    return {"point": outcome.point, "proof": outcome.proof, "problem": outcome.problem}


def _drop(_outcome: PointOutcome) -> None:
    """Take an outcome that the JSON document has."""

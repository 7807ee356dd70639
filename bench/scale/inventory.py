"""Lists, explains, resolves, sweeps and examines five thousand VMs; tells the CPU seconds and calls of each of these.

    python -m bench.scale.inventory [--vms 5000] [--json FILE]

The VMs are powered off and have no data, because only the inventory counts here. To make five thousand of them takes
the lab some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import say
from bench.programs import VMKEEP, machine
from bench.scale.fleet import PREFIX, make_fleet, vcenter_of
from bench.scale.processes import of_this
from demo.lab import Lab, LabAddress, LabControl
from vmkeep.clock import now
from vmkeep.flows.windows import plan_window
from vmkeep.model.site import Site
from vmkeep.policy import read_folder
from vmkeep.repository import create_repository

_MOST_CPU = 20.0
_POLICY = "scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The price of one question."""

    what: str
    cpu_seconds: float
    calls: int
    """Calls of the vCenter."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # because a site keeps compiled modules
    folder = Path(tempfile.mkdtemp(prefix="vmkeep-scale-", dir="/var/tmp"))
    lab = Lab(folder / "lab", options=["--data-disk-gib", "0.0625"], env=os.environ)
    try:
        lab.start()
        make_fleet(lab.wait_ready(), options.vms, disk_mib=1, data_mib=0)
        costs = measure(lab.wait_ready(), folder, last=f"{PREFIX}{options.vms - 1:05}")
    finally:
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.vms} VMs, {machine()}\n")
    print(f"| question | CPU seconds (<= {_MOST_CPU:.0f}) | vCenter calls |\n|---|---|---|")
    print("\n".join(f"| {cost.what} | {cost.cpu_seconds:.1f} | {cost.calls} |" for cost in costs))
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1), encoding="utf-8")


def measure(address: LabAddress, folder: Path, *, last: str) -> list[Cost]:
    """Ask each question once."""
    control = LabControl(address)
    password = folder / "password"
    password.write_text(address.password)
    password.chmod(0o600)
    repository = str(folder / "repository")
    create_repository(repository)
    policies = folder / "policies"
    policies.mkdir()
    (policies / f"{_POLICY}.yaml").write_text(
        f'name: {_POLICY}\nselection: name:{PREFIX}*\nwindow: {{start: "00:00", end: "23:59", time_zone: UTC}}\n'
    )
    environment = os.environ | {
        "VMKEEP_VCENTER": f"{address.host}:{address.port}", "VMKEEP_USER": address.user,
        "VMKEEP_PASSWORD_FILE": str(password), "VMKEEP_THUMBPRINT": address.thumbprint,
        "VMKEEP_VDDK": address.vddk,
        "VMKEEP_REPOSITORY": repository, "VMKEEP_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
    }  # fmt: skip

    def command(*arguments: str, check: bool = True) -> Callable[[], object]:
        return lambda: subprocess.run(
            [VMKEEP, *arguments], env=environment, check=check, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def resolve() -> None:
        """Resolve the window, as the first task of its DAG does."""
        site = Site(repository=repository, vcenter=vcenter_of(address), catalog=environment["VMKEEP_CATALOG"])
        (policy,) = [found.policy for found in read_folder(policies) if found.policy is not None]
        plan = plan_window(site, policy, [], opened_at=now(), by_hand=True, now=now())
        say(f"the window has {len(plan.vms)} VMs")

    questions = {
        "vm list --json": command("vm", "list", "--json"),
        "vm list -s (name and power)": command("vm", "list", "--json", "-s", f"name:{PREFIX}* and powerstate:off"),
        "policy explain VM": command("policy", "explain", last, "--policies", str(policies)),
        "policy explain --json": command("policy", "explain", "--json", "--policies", str(policies)),
        "resolution of a window": resolve,
        "vm sweep --dry-run": command("vm", "sweep", "--dry-run"),
        "doctor": command("doctor", check=False),  # because the names of the lab's hosts do not resolve
    }
    return [_cost(what, question, control) for what, question in questions.items()]


def _cost(what: str, question: Callable[[], object], control: LabControl) -> Cost:
    say(what)
    calls, spent = _calls(control), of_this()
    question()
    return Cost(what=what, cpu_seconds=round(of_this() - spent, 2), calls=_calls(control) - calls)


def _calls(control: LabControl) -> int:
    return sum(control.call("GET", "/counts")["calls"].values())


if __name__ == "__main__":
    main()

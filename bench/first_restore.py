"""Measures the time from a fresh clone to the first restore in the wizard, as a newcomer takes it.

    python -m bench.first_restore

It clones this checkout as it was last committed, types ``make setup`` and ``make demo`` there, waits until the fleet
shows a VM with a restore point, and restores it by clicks in Chromium as a new VM. The demo plays its own scenario
meanwhile. Packages come from wherever pip and uv find them, so a cache of theirs shortens the second stage. It needs
Debian's ``chromium``, and about 2 GB below ``/var/tmp``, and gives up a stage after half an hour.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote

import psutil
from playwright.sync_api import Page, sync_playwright

from bench.measure import say
from bench.programs import machine
from bench.scale.processes import of_children, own
from demo.api import AirflowApi

_ROOT: Final = Path(__file__).parents[1]
_ADDRESS: Final = re.compile(r"Airflow is at (\S+), user (\S+), password (\S+)")
_PATIENCE: Final = 1800.0
"""Seconds after which a stage has failed."""


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clone is removed
    began = time.monotonic()
    stages: list[tuple[str, float, float]] = []

    def ended(what: str) -> None:
        stages.append((what, time.monotonic() - began, _cpu()))
        say(f"{what}: {stages[-1][1]:.0f} s since the start")

    with tempfile.TemporaryDirectory(prefix="vmkeep-clone-", dir="/var/tmp") as folder:
        clone = Path(folder) / "vmkeep"
        subprocess.run(["git", "clone", "-q", str(_ROOT), str(clone)], check=True)
        ended("git clone")
        subprocess.run(["make", "setup"], cwd=clone, check=True, stdout=subprocess.DEVNULL)
        ended("make setup")
        with _demo(clone) as (url, user, password):
            ended("make demo, until Airflow answers")
            api = AirflowApi(url, user=user, password=password)
            point = _first_point(api)
            ended("the first backup of the demo")
            _restore(api, url, point)
            ended("wizard, from the fleet to a restored VM")
    print(f"\n{machine()}, load {os.getloadavg()[0]:.1f}\n\n| stage | s | CPU s of all processes |\n|---|---|---|")
    before = (0.0, 0.0)
    for what, seconds, cpu in stages:
        print(f"| {what} | {seconds - before[0]:.0f} | {cpu - before[1]:.0f} |")
        before = (seconds, cpu)
    print(f"| all | {before[0]:.0f} | {before[1]:.0f} |")


def _cpu() -> float:
    """Return the CPU seconds of this process and of all that it has started."""
    this = psutil.Process()
    return own(this) + of_children(this)


@contextmanager
def _demo(clone: Path) -> Iterator[tuple[str, str, str]]:
    """Run the demo; yield the address and the log-in that it tells."""
    demo = subprocess.Popen(
        ["make", "demo"], cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    found: list[tuple[str, str, str]] = []
    told = threading.Event()
    assert demo.stdout is not None
    threading.Thread(target=_listen, args=(demo.stdout, found, told), daemon=True).start()
    try:
        if not told.wait(_PATIENCE) or not found:
            raise SystemExit("the demo did not start")
        yield found[0]
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(_PATIENCE)


def _listen(stream: IO[str], found: list[tuple[str, str, str]], told: threading.Event) -> None:
    for line in stream:
        if not found and (match := _ADDRESS.search(line)):
            found.append((match[1], match[2], match[3]))
            told.set()
    told.set()


def _first_point(api: AirflowApi) -> str:
    """Return the key of the first VM that has a restore point."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        for row in api.call("GET", "/vmkeep/api/fleet")["rows"]:
            if row["points"]:
                return str(row["vm_key"])
        time.sleep(1)
    raise SystemExit("the demo made no backup")


def _restore(api: AirflowApi, url: str, vm_key: str) -> None:
    """Restore the newest point of a VM as a new VM, by clicks alone."""
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context()
        context.set_default_timeout(_PATIENCE * 1000)
        context.add_cookies([{"name": "_token", "value": api.token, "url": url}])
        run = _click_through(context.new_page(), url, vm_key)
        browser.close()
    state = api.wait("vm_restore", run, seconds=_PATIENCE)
    if state != "success":
        raise SystemExit(f"the restore {run} has ended as {state}")


def _click_through(page: Page, url: str, vm_key: str) -> str:
    page.goto(f"{url}/vmkeep/fleet")
    page.locator(f"tbody th a[href$='{vm_key}']").click()
    page.locator("tbody tr a.act").first.click()
    page.get_by_role("link", name="as a new one").click()
    page.fill("input[name=new_name]", "first01")
    page.get_by_role("button", name="Make the plan").click()
    page.get_by_role("button", name="Start the restore").click()
    page.wait_for_url("**/vmkeep/restores/vm_restore/*")
    return unquote(page.url.rpartition("/")[2])


if __name__ == "__main__":
    main()

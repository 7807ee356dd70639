"""The picture of the web view in the README, made anew from the lab.

``python -m bench.picture`` starts a lab, backs some of its VMs up, checks the data quality, and lets Chromium draw the
page of the fleet of that catalog. It needs the packages of ``make setup`` and Debian's ``chromium``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from playwright.sync_api import Route, sync_playwright

from demo.lab import Lab
from tests.integration.flows.restoring import back_up
from vmkeep.clock import now
from vmkeep.flows.fleet import load_fleet, load_trends
from vmkeep.flows.quality import Inventory, check_quality
from vmkeep.model.site import Site, VCenter
from vmkeep.policy import Policy, read_file
from vmkeep.repository import create_repository, open_repository
from vmkeep.web import STATIC, FleetQuery, FleetSort, Frame, VmState, fleet_page, render

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "fleet.png"
LARGEST = 150_000
"""Bytes of a picture that every clone of the project carries."""
BACKED_UP = ("web01", "db01", "app01", "web01")
"""VMs by the order of their backups. The lab has others, which nobody protects."""
SIZE = (1180, 690)
ORIGIN = "http://vmkeep.invalid"
FRAME = Frame(root="/vmkeep", airflow="", user="operator", may_operate=True)


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    out = parser.parse_args().out
    with TemporaryDirectory() as kept:
        draw(page_of(Path(kept)), out)
    size = out.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{out} has {size:,} bytes: make the page smaller")
    print(f"{out}: {size:,} bytes")


def page_of(folder: Path) -> str:
    """Return the HTML of the fleet of a lab whose VMs were backed up."""
    lab = Lab(folder / "lab", options=["--data-disk-gib", "0.25"], env=os.environ)
    lab.start()
    try:
        address = lab.wait_ready()
        site = Site(
            repository=str(folder / "repository"), vddk=address.vddk, catalog=f"sqlite:///{folder}/catalog.db",
            vcenter=VCenter(host=address.host, port=address.port, user=address.user, password=address.password,
                            thumbprint=address.thumbprint),
        )  # fmt: skip
        with create_repository(site.repository):
            pass
        for vm in BACKED_UP:
            back_up(site, vm, policy="nightly")
        return filled(site, nightly(folder))
    finally:
        lab.stop()


def nightly(folder: Path) -> Policy:
    """Return the policy of the VMs that are backed up, and of one that is not."""
    file = folder / "nightly.yaml"
    file.write_text(
        "name: nightly\nselection: name:web* or name:db* or name:app*\nmax_age: 26h\n"
        "window: {start: 22:00, end: 06:00, time_zone: Europe/Berlin}\n"
    )
    read = read_file(file)
    if read.policy is None:
        raise SystemExit("\n".join(read.lines))
    return read.policy


def filled(site: Site, policy: Policy) -> str:
    """Return the HTML of the fleet, as a check of data quality has noted it."""
    assert site.catalog is not None
    assert site.vcenter is not None
    with open_repository(site.repository) as repository:
        check_quality(repository, [policy], [Inventory(vcenter=site.vcenter, policies=(policy,))], catalog=site.catalog)
    urls, at = [site.catalog], now()
    fleet = load_fleet(urls, (policy,), at)
    page = fleet_page(fleet, FleetQuery(), now=at, trends=lambda vms: load_trends(urls, vms))
    sorts = {each.value: each for each in FleetSort}
    return render("fleet.html", FRAME, page=page, states=list(VmState), sorts=sorts)


def draw(page: str, out: Path) -> None:
    """Let a browser draw a page, with its style sheet and nothing from elsewhere."""

    def answer(route: Route) -> None:
        _, _, name = urlsplit(route.request.url).path.rpartition("/static/")
        if name in STATIC:
            route.fulfill(body=STATIC[name].content(), content_type=STATIC[name].media_type)
        else:
            route.fulfill(body=page, content_type="text/html; charset=utf-8")

    out.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        width, height = SIZE
        drawn = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        drawn.route("**/*", answer)
        drawn.goto(f"{ORIGIN}/vmkeep/fleet")
        drawn.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main()

"""The pages of the web view over a large catalog: how long each takes, from the catalog to its HTML.

``python -m bench.pages --vms 5000 --points 40`` fills a catalog as that many nights leave it, in a PostgreSQL of its
own or in the database of ``--url``, notes VMs, proofs and marks, and makes each page several times. ``--keep`` keeps
the database, so that a browser can be pointed at the same catalog.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import create_engine, text

from bench.quality import AT, DAY, NOW, REPOSITORY, fill, name_of
from vmkeep.catalog import NotedMark, NotedProof, NotedVm, open_catalog
from vmkeep.flows.fleet import find_point, load_fleet, load_trends, load_vm
from vmkeep.testing.servers import postgres_server
from vmkeep.web import POINTS_A_PAGE, FleetQuery, FleetSort, Frame, VmState, fleet_page, render, vm_page

FRAME = Frame(root="/vmkeep", airflow="", user="bench", may_operate=True)
SORTS = {each.value: each for each in FleetSort}


def note(url: str, vms: int, points: int) -> None:
    """Note VMs, a tenth more than have points; a proof of every point; and a mark of every hundredth VM."""
    refs = [(vm, night, ref_of(vm, night)) for vm in range(vms) for night in range(points)]
    with open_catalog(url) as catalog:
        catalog.overview().note(
            REPOSITORY,
            location="s3://bench/repository",
            at=NOW,
            marks=(
                NotedMark(ref=ref, kind="damaged", reason="a pack is lost")
                for vm, night, ref in refs
                if not vm % 100 and not night
            ),
            proofs=(
                NotedProof(ref=ref, kind="written", result="passed", at=AT - night * DAY) for _, night, ref in refs
            ),
            vms=(
                NotedVm(
                    vm=f"vc/vm-{vm}", name=name_of(vm), policy="nightly" if vm < vms else "", asked=True,
                    ref=ref_of(vm, 0) if vm < vms else None, proved=AT - DAY if vm < vms else None,
                )
                for vm in range(vms + vms // 10)
            ),
        )  # fmt: skip


def ref_of(vm: int, night: int) -> str:
    """Return the ref that the catalog's generator gives to a point."""
    at = datetime.fromtimestamp(AT - 8 * 3600 - night * DAY, UTC)
    return f"{name_of(vm)}/{at:%Y%m%dT%H%M%SZ}-{night:032x}"


def timed(what: str, make: Callable[[], str], times: int) -> None:
    """Make a page several times, and print the seconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        page = make()
        took.append(time.perf_counter() - began)
    line = f"{what:<42} median {statistics.median(took):6.3f} s, worst {max(took):6.3f} s"
    print(f"{line}, {len(page) / 1024:7.0f} KiB")


def fleet_html(url: str, query: FleetQuery) -> str:
    """Make the page of the fleet."""
    fleet = load_fleet([url], (), NOW)
    page = fleet_page(fleet, query, now=NOW, trends=lambda vms: load_trends([url], vms))
    return render("fleet.html", FRAME, page=page, states=list(VmState), sorts=SORTS)


def vm_html(url: str, vm: int, first: int) -> str:
    """Make the page of a VM."""
    found = load_vm([url], name_of(vm), (), NOW, first=first, most=POINTS_A_PAGE + 1)
    return render("vm.html", FRAME, page=vm_page(found, now=NOW))


@contextmanager
def database(url: str | None) -> Iterator[str]:
    """Yield the URL of a database."""
    if url is not None:
        yield url
        return
    with postgres_server() as server:
        yield server.url


def main() -> None:
    """Fill a catalog, and make its pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database, in place of a PostgreSQL of its own")
    parser.add_argument("--keep", action="store_true", help="keep the database until a line is typed")
    given = parser.parse_args()
    with database(given.url) as url:
        with open_catalog(url):
            pass
        engine = create_engine(url)
        began = time.monotonic()
        fill(engine, given.vms, given.points)
        note(url, given.vms, given.points)
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
        engine.dispose()
        print(f"{given.vms * given.points:,} points of {given.vms:,} VMs in {time.monotonic() - began:.0f} s")
        last = given.vms // 2
        timed("fleet, the worst first", lambda: fleet_html(url, FleetQuery()), given.times)
        timed("fleet, searched", lambda: fleet_html(url, FleetQuery(search=f"{last:012d}")), given.times)
        by_size = FleetQuery(sort=FleetSort.STORED, down=True, page=20)
        timed("fleet, sorted by size, page 20", lambda: fleet_html(url, by_size), given.times)
        timed("a VM", lambda: vm_html(url, last, 0), given.times)
        timed("a point found by its id", lambda: str(find_point([url], f"{0:032x}")), given.times)
        if given.keep:
            input(f"catalog: {url} (type a line to end) ")


if __name__ == "__main__":
    main()

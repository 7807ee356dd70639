"""A restore by clicks in a real browser, within a running Airflow: a VM, and a file, each with the bytes it had."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page

from tests.browsing import expect
from tests.command_line import run_here
from tests.integration.airflow.running.visits import PICTURES, Visit, visit
from tests.integration.airflow.running.visits import browser as browser  # a fixture
from tests.integration.flows.restoring import back_up, restore_whole
from tests.patience import HANG, eventually

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def point_id(site) -> str:
    """Return the id of a point of web01 that the catalog lists."""
    from vmkeep.flows.repositories import open_site_repository

    ref = str(back_up(site, "web01").point)
    with open_site_repository(site) as repository:
        return repository.find_point(ref).id


CONTENT = random.Random(15).randbytes(18 << 20)
"""The content of a file that is streamed, because it is larger than what is read before an answer begins."""


@pytest.fixture(scope="module")
def files_id(site, tmp_path_factory) -> Iterator[str]:
    """Return the id of a point with files, which is gone after the tests."""
    from vmkeep.catalog import open_catalog
    from vmkeep.flows.repositories import open_site_repository

    tree = tmp_path_factory.mktemp("tree")
    (tree / "docs").mkdir()
    (tree / "docs" / "<b>report.bin").write_bytes(CONTENT)
    image = tree.parent / "files.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, image, "32M"], check=True)
    where = {"VMKEEP_REPOSITORY": site.repository, "VMKEEP_CATALOG": site.catalog}
    done = run_here("image", "import", str(image), "--name", "files01", **where)
    assert done.returncode == 0, done.stderr
    with open_site_repository(site) as repository, open_catalog(site.catalog) as catalog:
        catalog.refresh(repository)
        point = repository.find_point("latest:files01")
    yield point.id
    run_here("point", "delete", point.ref, "--yes", **where)


def test_a_vm_is_restored_from_its_page_by_clicks_alone(airflow, api, browser, control, point_id, site):
    backed_up = control.hashes("web01")
    with visit(browser, airflow, api) as visited:
        page = visited.page
        page.goto(f"{visited.url}/vmkeep/points/{point_id}")
        page.locator(f"#p-{point_id} a.act").click()
        page.screenshot(path=PICTURES / "restore-light-1400.png", full_page=True)
        page.get_by_role("link", name="as a new one").click()
        page.fill("input[name=new_name]", "wizard01")
        page.select_option("select[name=power_on]", "no")
        page.select_option("select[name='card.0']", "none")
        visited.picture("restore-form")
        page.get_by_role("button", name="Make the plan").click()
        start = page.get_by_role("button", name="Start the restore")
        expect(start).to_be_visible(timeout=HANG * 1000)  # the page loads itself again until then
        expect(page.locator("ol.plan")).to_contain_text("a new VM wizard01 is made in")
        visited.picture("restore-plan")
        plan = page.url
        start.click()
        page.wait_for_url("**/vmkeep/restores/vm_restore/*")
        visited.picture("restore-started")
        run = unquote(page.url.rpartition("/")[2])
        expect(page.locator("#live")).to_contain_text("The restore has ended well")  # it refreshes itself until then
        expect(page.locator("#live")).to_contain_text("written")
        visited.picture("restore-ended")

        assert api.wait("vm_restore", run, seconds=HANG) == "success"
        restored = control.vm("wizard01")
        assert restored["power"] == "poweredOff"
        assert control.hashes("wizard01") == backed_up
        told = api.call("GET", f"/api/v2/dags/vm_restore/dagRuns/{run}")
        assert (told["triggering_user_name"], told["conf"]["dry_run"]) == (airflow.home.user, False)
        assert told["conf"]["as_shown"], "the run does only what was shown"
        page.go_back()
        assert page.url == plan
        expect(page.get_by_role("button", name="Start")).to_have_count(0)
        expect(page.locator("main")).not_to_contain_text("Nothing was changed")
        visited.picture("restore-plan-started")
        page.get_by_role("link", name="How far it is").click()
        assert unquote(page.url.rpartition("/")[2]) == run, "a plan is started once"


@pytest.fixture(scope="module")
def spare(site, point_id, lab) -> dict[int, str]:
    """Return the hashes of the disks of spare01, a VM that these tests alone use, as the point has them."""
    restore_whole(site, point_id, new_name="spare01", power_on=True)  # because only a running guest writes
    return lab.control().hashes("spare01")


def restored_by_clicks(airflow, api, browser, path: str, choose: Callable[[Page], None], *, start: str) -> None:
    """Fill a form of the wizard in, start what its plan shows, and wait for the end of the run."""
    with visit(browser, airflow, api) as visited:
        page = visited.page
        page.goto(f"{visited.url}/vmkeep/restore/{path}")
        choose(page)
        page.get_by_role("button", name="Make the plan").click()
        eventually(lambda: is_started(visited, start), "the page of the started run")
        *_, dag_id, run = page.url.split("/")
        assert api.wait(dag_id, unquote(run), seconds=HANG) == "success"


def is_started(visited: Visit, start: str) -> bool:
    """Start what a plan shows, and return whether the page of its run is there; show any page of another kind.

    The Airflow of these tests lies on SQLite. If that is locked for long, the server says so, and a person tries again.
    """
    page = visited.page
    button = page.get_by_role("button", name=start)
    expect(button).to_be_visible(timeout=HANG * 1000)  # the page loads itself again until then
    plan = page.url
    with page.expect_navigation() as led:
        button.click()
    if "/vmkeep/restores/" in page.url:
        return True
    assert led.value.status >= 500, (led.value.status, page.locator("body").inner_text())
    page.goto(plan)
    visited.faults.clear()
    return False


def test_a_vm_is_written_over_by_clicks_alone(airflow, api, browser, control, point_id, spare):
    control.write("spare01", 2000, [(0, 4096), (1 << 20, 65536)])
    assert control.hashes("spare01")[2000] != spare[2000]

    def choose(page: Page) -> None:
        page.fill("input[name=vm]", "spare01")
        page.select_option("select[name=on_conflict]", "overwrite")
        page.select_option("select[name=power_on]", "no")

    restored_by_clicks(airflow, api, browser, f"{point_id}/over", choose, start="Start, and write over it")
    assert {key: found for key, found in control.hashes("spare01").items() if key in spare} == spare


def test_a_disk_is_attached_by_clicks_alone(airflow, api, browser, control, point_id, spare):
    before = control.hashes("spare01")

    def choose(page: Page) -> None:
        page.locator("input[name=disks]").first.check()
        page.fill("input[name=vm]", "spare01")

    restored_by_clicks(airflow, api, browser, f"{point_id}/attach", choose, start="Start the restore")
    after = control.hashes("spare01")
    (added,) = set(after) - set(before)
    assert after[added] == spare[2000], "the new disk has the content of the point"
    assert {key: after[key] for key in before} == before, "no other disk was touched"


def test_a_file_is_found_and_fetched_by_clicks_alone(airflow, api, browser, files_id, tmp_path):
    with visit(browser, airflow, api, accept_downloads=True) as visited:
        page = visited.page
        assert page.goto(f"{visited.url}/vmkeep/restore/{files_id}").ok
        expect(page.locator("main")).to_contain_text("No VM can be made of this image")
        expect(page.get_by_role("link", name="as a new one")).to_have_count(0)
        page.screenshot(path=PICTURES / "restore-image-light-1400.png", full_page=True)
        page.get_by_role("link", name="Files and folders").click()
        page.get_by_role("link", name="disk0").click()
        page.get_by_role("link", name="docs/").click()
        visited.picture("files")
        page.fill("input[name=q]", "*.BIN")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("tbody th")).to_have_text("/docs/<b>report.bin")
        with page.expect_download() as waiting:
            page.locator("td.fetch a").click()
        got = tmp_path / "got"
        waiting.value.save_as(got)
        assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
        assert Path(waiting.value.suggested_filename).name == waiting.value.suggested_filename

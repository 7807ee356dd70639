"""Running work in a real browser, within a running Airflow: seen while it moves, slowed, and stopped by clicks."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.browsing import expect
from tests.command_line import run_here
from tests.integration.airflow.running.visits import Visit, visit
from tests.integration.airflow.running.visits import browser as browser  # a fixture
from tests.patience import HANG, eventually
from vmkeep.errors import NotFoundError

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
LIMIT = "50MiB"
LATENCY = 2.0
"""Seconds that the host takes for each read, so that a copy of some hundred reads lasts until somebody stops it."""


@pytest.fixture
def another(api, tmp_path):
    """Return the connection to a repository of its own. It is in Airflow's database, where it can be changed."""
    from vmkeep.repository import create_repository

    with create_repository(str(tmp_path / "repo")):
        pass
    api.connect("another", {"conn_type": "vmkeep", "host": str(tmp_path / "repo"), "extra": {"limit_rate": LIMIT}})
    yield "another"
    api.call("DELETE", "/api/v2/connections/another")


def test_a_copy_is_seen_slowed_and_stopped_from_its_page_and_leaves_no_snapshot(
    airflow, api, browser, control, another
):
    control.call("POST", "/fault", {"nfc": {"latency": LATENCY}})
    run = api.trigger("vm_backup", vm="app01", repository=another)
    with visit(browser, airflow, api) as visited:
        slow_and_stop(visited, airflow, api, control, run, another)


def slow_and_stop(visited: Visit, airflow, api, control, run: str, another: str) -> None:
    """See a copy on its page, slow it, and stop it."""
    page, url = visited.page, visited.url
    page.goto(f"{url}/vmkeep/running")

    disk = (
        page.locator("tbody", has_text="app01").locator("tr", has_text="copy_disk").filter(has=page.locator("progress"))
    )
    expect(disk.first).to_be_visible(timeout=HANG * 1000)  # the page refreshes itself until then
    expect(page.locator("li", has_text="app01").first).to_contain_text("taken")
    visited.picture("running")

    known = {"VMKEEP_AIRFLOW_URL": url, "VMKEEP_AIRFLOW_TOKEN": api._token, "VMKEEP_CONFIG": "/dev/null"}
    listed = run_here("run", "list", "--json", **known)
    assert run in [each["run_id"] for each in json.loads(listed.stdout)["runs"]], listed.stderr
    assert run_here("run", "stop", "vm_backup", "of-nobody", **known).returncode == NotFoundError.exit_code
    assert LIMIT in run_here("run", "limit", **known).stdout
    windows = json.loads(run_here("run", "windows", "--json", **known).stdout)
    assert "always" in {row["policy"] for row in windows["rows"]}

    form = page.locator(f'form[action$="/limits/{another}"]')
    expect(form.locator("input")).to_have_value(LIMIT)
    form.locator("input").fill("40MiB")
    with page.expect_navigation():
        form.get_by_role("button", name="Change").click()
    assert page.url.endswith("/vmkeep/running#limits"), page.locator("main").inner_text()
    expect(page.locator(f'form[action$="/limits/{another}"] input')).to_have_value("40MiB")
    logs = "logs/dag_id=vm_backup/run_id=*/task_id=copy_disk/**/*.log"
    told = "the rate limit of the repository is now 40MiB"
    eventually(lambda: any(told in log.read_text() for log in airflow.home.folder.glob(logs)))

    page.locator(f'a.stop[href$="{quote(run, safe="")}"]').click()
    expect(page.locator("main")).to_contain_text("its snapshot is removed")
    page.get_by_role("button", name="Stop it").click()
    page.wait_for_url("**/vmkeep/running")
    assert api.wait("vm_backup", run, seconds=HANG) == "failed"
    assert control.snapshots("app01") == []
    expect(page.locator(f'#live a[href*="{quote(run, safe="")}"]')).to_have_count(0, timeout=HANG * 1000)
    assert "stopped by" in api.call("GET", f"/api/v2/dags/vm_backup/dagRuns/{quote(run, safe='')}")["note"]

    page.goto(f"{url}/vmkeep/windows")
    expect(page.locator("h1")).to_contain_text("(today)")
    visited.picture("windows")

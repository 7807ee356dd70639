"""The web view in a real browser, within a running Airflow: it loads nothing from elsewhere, and no script fails."""

from __future__ import annotations

import pytest

from tests.browsing import expect
from tests.integration.airflow.running.visits import KINDS, PICTURES, Visit, visit
from tests.integration.airflow.running.visits import browser as browser  # a fixture
from tests.integration.flows.restoring import back_up
from tests.patience import HANG
from tests.unit.web import fleets
from vmkeep.clock import now
from vmkeep.flows.repositories import open_site_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080600000"
    "01f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def web01(site) -> str:
    """Return the key of a VM with a point whose boot test kept a picture; the catalog has a small fleet beside it."""
    from vmkeep.catalog import open_catalog
    from vmkeep.flows.fleet_notes import note_fleet
    from vmkeep.model.proofs import PICTURE, PointProof, ProofKind, ProofResult

    ref = str(back_up(site, "web01").point)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleets, "NOW", now())
        fleets.fill(site.catalog, pictured=False)
    with open_site_repository(site) as repository, open_catalog(site.catalog) as cache:
        proof = PointProof(kind=ProofKind.BOOT, result=ProofResult.PASSED, at=now())
        repository.proofs.add(ref, proof, {PICTURE: PNG})
        cache.refresh(repository)
        note_fleet(cache, repository, (), unasked=(), at=now())
    return ref.rpartition("/")[0]


def test_the_pages_load_only_what_is_here_and_are_pictured(airflow, api, browser, web01):
    for scheme, width in KINDS:
        options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
        with visit(browser, airflow, api, **options) as visited:
            look_at_the_pages(visited, web01, f"{scheme}-{width}")


def look_at_the_pages(visited: Visit, web01: str, kind: str) -> None:
    """Go through the pages, and take a picture of each."""
    page, url = visited.page, visited.url
    page.goto(f"{url}/vmkeep/fleet")
    page.screenshot(path=PICTURES / f"fleet-{kind}.png", full_page=True)
    for name in ("Policies", "Repositories", "Recoveries", "Who did what"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("h1")).to_have_text(name)
        page.screenshot(path=PICTURES / f"{name.lower().replace(' ', '-')}-{kind}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    assert visited.faults == []
    for path, heading in (("vms/nobody", "There is nothing here"), ("windows?day=today", "The address has a mistake")):
        page.goto(f"{url}/vmkeep/{path}")
        expect(page.locator("h1")).to_have_text(heading)
        expect(page.locator(".who")).to_have_text("admin")
        page.screenshot(path=PICTURES / f"error-{path[:3]}-{kind}.png", full_page=True)
    visited.faults.clear()  # the two refusals
    page.goto(f"{url}/vmkeep/fleet")
    page.fill("input[type=search]", web01)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.click("tbody th a")
    expect(page.locator("h1")).to_contain_text("web01")
    picture = page.locator(".screen img")
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("naturalWidth", 1, timeout=HANG * 1000)
    if kind == "-".join(map(str, KINDS[0])):
        rows = page.eval_on_selector_all("tbody tr", "e => e.map(r => r.id)")
        point_id = next(row.removeprefix("p-") for row in rows if row.startswith("p-"))  # others backed it up, too
        page.goto(f"{url}/vmkeep/hardware?from={point_id}&to={point_id}")
        expect(page.locator("tbody")).to_contain_text("are the same")
    page.goto(f"{url}/vmkeep/vms/key-web01")
    page.get_by_role("button", name="Compare the two").click()
    expect(page.locator("#comparison")).to_contain_text("path in the inventory")
    page.screenshot(path=PICTURES / f"vm-{kind}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "no page is wider than its window"
    )


def test_the_fleet_stands_in_airflows_navigation_follows_its_theme_and_leads_back(airflow, api, browser, web01):
    with visit(browser, airflow, api) as visited:
        page = visited.page
        page.add_init_script("localStorage.setItem('theme', 'dark')")
        page.goto(f"{visited.url}/plugin/vmkeep")
        frame = page.frame_locator("iframe")
        expect(frame.locator("h1")).to_have_text("Fleet")
        expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
        frame.locator("footer a[data-outside]").first.click()
        page.wait_for_url("**/dags/data_quality**")
        assert page.frames[0].url.endswith("/dags/data_quality")
        visited.faults.clear()  # Airflow's own page is not ours to judge


FORMS = ("vm_backup", "vm_restore", "repository_maintenance")
"""DAGs whose forms have every kind of field; the fields of all DAGs are compared with their texts elsewhere."""


def test_the_form_of_a_run_shows_all_its_fields_in_plain_words_and_demands_only_what_has_no_default(
    airflow, api, browser
):
    with visit(browser, airflow, api, viewport={"width": 1400, "height": 1000}) as visited:
        page = visited.page
        for dag_id in FORMS:
            params = api.call("GET", f"/api/v2/dags/{dag_id}/details")["params"]
            page.goto(f"{visited.url}/dags/{dag_id}")
            page.get_by_test_id("trigger-dag-button").click()
            form = page.get_by_role("dialog")
            for section in form.locator("button[id*=accordion][aria-expanded=false]").all():
                section.click()
            titles = {param["schema"]["title"] for param in params.values()}
            needed = {param["schema"]["title"] for param in params.values() if is_needed(param)}
            expect(form.get_by_text("This field is required")).to_have_count(len(needed))
            labels = form.locator("label").all_inner_texts()
            assert titles <= {label.rstrip("*\n ") for label in labels}, dag_id
            assert {label.rstrip("*\n ") for label in labels if label.endswith("*")} == needed, dag_id
            for param in params.values():
                if shown := (param["schema"].get("values_display") or {}).get(str(param["value"])):
                    expect(form.get_by_text(shown, exact=True).first).to_be_attached()
            page.screenshot(path=PICTURES / f"form-{dag_id}.png", full_page=True)
            assert visited.faults == [], dag_id


def is_needed(param) -> bool:
    """Return whether a run cannot begin unless somebody fills a field in."""
    kinds = param["schema"].get("type")
    return param["value"] in (None, "") and kinds == "string" and bool(param["schema"].get("minLength"))

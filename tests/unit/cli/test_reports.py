"""``vmkeep report`` against a real repository: the same facts as a table, a page, sheets and data."""

from __future__ import annotations

import csv
import json

import pytest

from tests.command_line import run_here
from vmkeep.images.importing import import_images
from vmkeep.repository import create_repository

POLICY = (
    "name: nightly\nselection: name:*\nowner: shop\nmax_age: 26h\nwindow: {start: 22:00, end: 06:00, time_zone: UTC}\n"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder with a repository of one point, whose VM's name is a formula, and a policy."""
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("VMKEEP_POLICIES", str(tmp_path / "policies"))
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "nightly.yaml").write_text(POLICY)
    image = tmp_path / "disk.raw"
    image.write_bytes(b"v" * 102_400)
    with create_repository(str(tmp_path / "repo")) as repository:
        import_images(repository, [image], name="=cmd|<b>")
    return tmp_path


@pytest.mark.parametrize("verb", [["levels"], ["window", "nightly"], ["audit"], ["cost"]], ids=lambda words: words[0])
def test_each_report_is_printed_and_written_in_every_form(here, verb):
    page, sheets = here / "page.html", here / "sheets"

    printed = run_here("report", *verb, "--html", str(page), "--csv", str(sheets))
    told = json.loads(run_here("report", *verb, "--json").stdout)

    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout.startswith(told["title"].partition(",")[0])
    assert "<b>" not in page.read_text().replace("&lt;b&gt;", "")
    names = {path.stem for path in sheets.iterdir()}
    assert names == {name for name, value in told.items() if isinstance(value, list) and name != "notes"}
    for name in names:
        assert len(list(csv.reader((sheets / f"{name}.csv").read_text().splitlines()))) == 1 + len(told[name])
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_a_vm_is_in_the_reports_with_its_own_name_and_a_sheet_keeps_it_from_being_run(here):
    (vm,) = json.loads(run_here("report", "cost", "--json").stdout)["vms"]
    run_here("report", "cost", "--csv", str(here / "sheets"))

    assert (vm["vm"], vm["owner"], vm["points"]) == ("=cmd|<b>", "nobody", 1)
    assert vm["stored"] > 0
    assert (here / "sheets" / "vms.csv").read_text().splitlines()[1].startswith("'=cmd|<b>,")


def test_a_window_of_an_unknown_policy_or_an_odd_time_is_refused(here):
    assert "no policy without faults is called daily" in run_here("report", "window", "daily").stderr
    assert "has no time zone" in run_here("report", "window", "nightly", "--at", "2026-11-26T23:00").stderr

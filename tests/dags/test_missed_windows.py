"""A window that does not open is told once to the people of its policy, whatever the reason."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import BaseNotifier

from vmkeep.policy import Notifications, NotifyWhen, default_folder, read_folder
from vmkeep_airflow.assets import WINDOWS
from vmkeep_airflow.missedwindows import KEY, Memory, WindowDags, by_people, look, times_since, untold
from vmkeep_airflow.operators.find_missed_windows import FindMissedWindowsOperator

OPENS = datetime(2026, 11, 26, 22, tzinfo=UTC)
LATER = OPENS + timedelta(minutes=10)
DAY = timedelta(days=1)
EXAMPLE = default_folder() / "example.yaml"
EXAMPLE_OPENS = datetime(2026, 11, 26, 22, tzinfo=ZoneInfo("Europe/Berlin"))


class Airflow:
    """The DAGs of windows that Airflow has, and the openings for which it made runs."""

    def __init__(self, **is_on: bool) -> None:
        self.is_on = is_on
        self.made: set[tuple[str, datetime]] = set()
        self.queued: set[tuple[str, datetime]] = set()

    @property
    def dags(self) -> WindowDags:
        return WindowDags(is_on=self.is_on.get, has_run=self._has_run, waits=lambda *asked: asked in self.queued)

    def _has_run(self, policy: str, opens_at: datetime | None) -> bool:
        return any(name == policy and opens_at in (None, at) for name, at in self.made)


@pytest.fixture
def site(tmp_path):
    """Return a function that looks at a folder of policies, with the memory of its last look."""

    class Looks:
        memory = Memory.from_plain(None)

        def write(self, name: str = "nightly", start: str = "22:00", end: str = "06:00", more: str = "") -> None:
            window = f"window:\n  start: '{start}'\n  end: '{end}'\n  time_zone: UTC"
            (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nselection: name:*\n{window}\n{more}")

        def files(self):
            return read_folder(tmp_path)

        def look(self, airflow: Airflow, at: datetime) -> list[str]:
            missed, memory = look(read_folder(tmp_path), self.memory, airflow.dags, at)
            self.memory = Memory.from_plain(memory.to_plain())
            self.missed = missed
            return [f"{each.policy}: {each.why}" for each in missed]

    found = Looks()
    found.write()
    found.look(Airflow(nightly=True), OPENS - DAY + timedelta(hours=1))
    return found


@pytest.mark.parametrize(
    ("airflow", "has_earlier", "why"),
    [
        (Airflow(nightly=True), True, "its DAG is switched on, and Airflow made no run"),
        (Airflow(nightly=False), True, "its DAG is switched off"),
        (Airflow(nightly=False), False, "its DAG was never switched on"),
        (Airflow(), True, "Airflow does not have its DAG"),
    ],
    ids=["no run", "off", "never on", "no DAG"],
)
def test_a_window_without_a_run_is_told_once_with_the_reason(site, airflow, has_earlier, why):
    airflow.made = {("nightly", OPENS - DAY)} if has_earlier else set()

    (told,) = site.look(airflow, LATER)

    assert told.startswith("nightly: the window of 2026-11-26 22:00 UTC did not open: ")
    assert why in told
    assert site.look(airflow, LATER + timedelta(minutes=30)) == []
    again = site.look(airflow, LATER + DAY)
    assert len(again) == has_earlier, "each further window is told, but not of a policy that was never in use"


def test_a_window_that_has_its_run_or_that_opened_just_now_is_told_to_nobody(site):
    airflow = Airflow(nightly=True)
    assert site.look(airflow, OPENS + timedelta(minutes=4)) == []
    airflow.made.add(("nightly", OPENS))
    assert site.look(airflow, LATER) == []


def test_a_window_whose_run_waits_in_the_queue_is_told_once(site):
    airflow = Airflow(nightly=True)
    airflow.made = airflow.queued = {("nightly", OPENS)}
    (line,) = site.look(airflow, LATER)
    assert "the window of 2026-11-26 22:00 UTC did not open: its run waits in the queue" in line
    assert site.look(airflow, LATER + timedelta(minutes=30)) == []
    airflow.is_on["nightly"] = False
    assert site.look(airflow, LATER + DAY)[0].endswith(
        "its DAG is switched off: switch it on, and the window is caught up"
    )


def test_a_policy_that_is_new_or_has_other_times_is_judged_from_its_next_window_on(site):
    airflow = Airflow(nightly=True, new=True)
    site.write("new")
    site.write("nightly", start="21:00")

    assert site.look(airflow, LATER) == []
    assert [one.split(":")[0] for one in site.look(airflow, LATER + DAY)] == ["new", "nightly"]


@pytest.mark.parametrize(
    ("edit", "is_told"),
    [
        ({"more": "  blackout: [2026-12-24 to 2026-12-26]\n"}, True),
        ({"end": "05:00"}, True),
        ({"start": "21:00"}, False),
        ({"more": "  blackout: [2026-11-10]\n"}, False),
    ],
    ids=["a holiday to come", "another end", "another start", "a day that has passed"],
)
def test_an_edit_after_a_window_that_did_not_open_hides_it_only_if_it_opened_at_other_moments_then(site, edit, is_told):
    site.write(**edit)
    assert len(site.look(Airflow(nightly=True), LATER)) == is_told
    (read,) = site.files()
    since = times_since(site.memory, read.policy, LATER)
    assert (since < OPENS) is is_told


def test_a_policy_file_with_faults_is_told_once_to_the_people_of_all_policies(site):
    site.write("nightly", more="notifications: {to: [ops@example.com]}\n")
    site.write("broken", more="selection: twice\n")
    airflow = Airflow(nightly=True)
    airflow.made.add(("nightly", OPENS))

    (told,) = site.look(airflow, LATER)

    assert told.startswith("broken: its policy file has faults")
    everybody = [
        Notifications(when=NotifyWhen.PROBLEMS, to=("ops@example.com",)),
        Notifications(when=NotifyWhen.PROBLEMS, to=("dba@example.com",)),
    ]
    ((missed, wishes),) = by_people(site.missed, everybody)
    assert missed == site.missed
    assert wishes == everybody
    assert site.look(airflow, LATER) == []
    site.write("broken")
    assert site.look(airflow, LATER) == []
    site.write("broken", more="selection: twice\n")
    assert len(site.look(airflow, LATER)) == 1, "it was mended, and is broken anew"


def test_the_example_that_comes_with_vmkeep_is_told_only_once_somebody_has_switched_it_on(site, tmp_path):
    (tmp_path / "nightly.yaml").unlink()
    shutil.copy(EXAMPLE, tmp_path)  # as an installation mounts a copy
    airflow = Airflow(example=False)
    site.look(airflow, EXAMPLE_OPENS - timedelta(hours=1))
    assert site.look(airflow, LATER) == []
    airflow.made.add(("example", EXAMPLE_OPENS - DAY))
    assert "its DAG is switched off" in site.look(airflow, LATER + DAY)[0]


def test_an_example_that_a_site_has_changed_is_a_policy_as_any_other(site, tmp_path):
    (tmp_path / "nightly.yaml").unlink()
    (tmp_path / "example.yaml").write_text(EXAMPLE.read_text() + "\n# ours\n")
    site.look(Airflow(example=False), EXAMPLE_OPENS - timedelta(hours=1))
    assert len(site.look(Airflow(example=False), LATER)) == 1


def test_windows_of_the_same_people_are_one_message(site):
    for name in ("one", "two"):
        site.write(name, more="notifications: {to: [ops@example.com]}\n")
    airflow = Airflow(nightly=True, one=True, two=True)
    site.look(airflow, OPENS - timedelta(hours=1))

    assert len(site.look(airflow, LATER)) == 3
    circles = [[each.policy for each in some] for some, _ in by_people(site.missed, ())]
    assert circles == [["nightly"], ["one", "two"]]


def test_a_window_of_which_people_could_not_be_told_is_told_by_the_next_look(site):
    airflow = Airflow(nightly=True)
    assert len(site.look(airflow, LATER)) == 1
    site.memory = untold(site.memory, site.missed)

    assert len(site.look(airflow, LATER)) == 1


@pytest.mark.parametrize("since", ["2099-01-01T00:00:00+00:00", "2020-01-01T00:00:00", "x", 7, None])
def test_a_moment_that_lies_ahead_or_is_none_silences_no_alarm_but_the_first(site, since):
    site.memory = Memory(windows=site.memory.windows, since={"nightly": since}, told={})
    site.look(Airflow(nightly=True), OPENS - timedelta(hours=1))
    assert len(site.look(Airflow(nightly=True), LATER)) == 1


@pytest.mark.parametrize("left", [None, [], {"windows": 1, "told": "x"}])
def test_a_memory_that_this_version_cannot_read_counts_as_none(left):
    assert Memory.from_plain(left) == Memory(windows={}, since={}, told={})


class PowerCut(BaseException):
    """The worker dies here: no handler of errors may tidy up after it."""


class Cut(BaseNotifier):
    """Way to people whose use is the last that a worker does."""

    def notify(self, context: Any) -> None:
        raise PowerCut


class Heard(BaseNotifier):
    """Way to people that works."""

    def notify(self, context: Any) -> None:
        TOLD.append(context["notice"]["text"])


TOLD: list[str] = []


class Task:
    """Task instance in an Airflow that has the DAG of each window, and has made no run but the first one."""

    dag_id, run_id, task_id, try_number, max_tries = "missed_windows", "scheduled__1", "find", 1, 0

    def get_dag(self, dag_id):
        return self

    is_paused = False

    def get_dr_count(self, *, dag_id, logical_dates, states):
        return 0

    def xcom_push(self, key, value):
        pass


class Kept(dict[str, Any]):
    """State beside an asset, which outlives each task."""

    def set(self, key, value):
        self[key] = value


class Events(list[Any]):
    """Events that a task emits for an asset."""

    def add(self, asset, extra):
        self.append((asset, extra))


def test_a_window_is_told_again_by_the_next_try_if_the_worker_died_while_it_told_people(site, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    site.write(more="notifications: {notifiers: [pager]}\n")  # its last window is at most a day ago
    site.look(Airflow(nightly=True), OPENS)
    known_long = {"nightly": "2020-01-01T00:00:00+00:00"}
    kept = Kept({KEY: Memory(windows=site.memory.windows, since=known_long, told={}).to_plain()})

    def find(way: type[BaseNotifier]) -> dict[str, Any]:
        pager = {"class": f"{way.__module__}.{way.__qualname__}"}
        monkeypatch.setenv("AIRFLOW__VMKEEP__NOTIFIERS", json.dumps({"pager": pager}))
        context = {"ti": Task(), "asset_state_store": {WINDOWS: kept}, "outlet_events": defaultdict(Events)}
        return FindMissedWindowsOperator(task_id="find").execute(context)

    with pytest.raises(PowerCut):
        find(Cut)
    TOLD.clear()
    assert list(find(Heard)) == ["nightly"]
    assert len(TOLD) == 1
    assert find(Heard) == {}, "it is told once"

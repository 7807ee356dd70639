"""The DAGs of policies: one for each file, none harmed by another's fault, and a run for each opening of a window."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction

from vmkeep.policy import Window
from vmkeep_airflow.timetables import WindowTimetable

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

DAGS = Path(__file__).resolve().parents[2] / "dags"
POLICY = """\
name: {name}
selection: name:{name}*
owner: storage team
window: {{start: 22:00, end: 06:00, time_zone: Europe/Berlin}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    for name in ("web", "apps"):
        (tmp_path / f"{name}.yaml").write_text(POLICY.format(name=name))
    return tmp_path


def parsed(name: str = "backup_windows.py") -> DagBag:
    return DagBag(str(DAGS / name))


def test_each_policy_has_a_dag_with_its_owner_and_window(folder):
    bag = parsed()
    assert bag.import_errors == {}
    assert set(bag.dags) == {"backup_window_web", "backup_window_apps"}
    dag = bag.dags["backup_window_web"]
    assert (dag.owner, dag.schedule.summary) == ("storage team", "22:00 to 06:00 Europe/Berlin")
    assert "`name:web*`" in dag.doc_md


def test_a_policy_with_copies_brings_its_points_to_each_second_repository_before_people_are_told(folder):
    (folder / "web.yaml").write_text(POLICY.format(name="web") + "repository: {copies: [offsite, vault]}\n")
    dag = parsed().dags["backup_window_web"]
    copies = dag.get_task("copies")
    assert (copies.upstream_task_ids, copies.downstream_task_ids) == ({"plan", "start_backups"}, {"notify"})
    assert copies.expand_input.value == {"target_conn_id": ["offsite", "vault"]}
    assert not parsed().dags["backup_window_apps"].has_task("copies")


def test_a_file_with_faults_opens_no_window_and_every_other_one_lives(folder):
    """Airflow switches off all DAGs of a file that has an import error, so the error is another file's."""
    (folder / "web.yaml").write_text("name: web\nquiesce: maybe\n")
    bag = parsed()
    assert bag.import_errors == {}
    assert bag.dags["backup_window_apps"].schedule.summary == "22:00 to 06:00 Europe/Berlin"
    assert bag.dags["backup_window_web"].schedule is None
    assert "web.yaml:2:10: quiesce: 'maybe' is no way to quiesce" in bag.dags["backup_window_web"].doc_md
    (error,) = parsed("policy_faults.py").import_errors.values()
    assert f"{folder}/web.yaml:2:10: quiesce: 'maybe' is no way to quiesce" in error
    assert f"{folder}/web.yaml:1:1: window is missing" in error


def test_a_window_whose_file_is_broken_meanwhile_comes_to_its_end(folder):
    """The tasks keep their names and order, so that the run goes on; those that need the policy tell its faults."""
    sound = parsed().dags["backup_window_web"]
    (folder / "web.yaml").write_text("name: web\nquiesce: maybe\n")
    broken = parsed().dags["backup_window_web"]
    order = {task.task_id: task.upstream_task_ids for task in sound.tasks}
    assert {task.task_id: task.upstream_task_ids for task in broken.tasks} == order
    for task_id in ("notify", "report"):
        assert type(broken.get_task(task_id)) is type(sound.get_task(task_id))
    with pytest.raises(AirflowException, match=r"web\.yaml:2:10: quiesce: 'maybe'"):
        broken.get_task("start_backups").execute({})


def test_a_page_lists_the_first_faults_of_a_file_and_the_number_of_the_others(folder):
    (folder / "web.yaml").write_text("name: web\n" + "".join(f"x{number}: 1\n" for number in range(500)))
    page = parsed().dags["backup_window_web"].doc_md
    assert (page.count("web.yaml:"), "and 402 more: run 'vmkeep policy check'" in page) == (100, True)


def test_a_file_whose_name_no_policy_may_have_makes_no_dag(folder):
    for name in ("We b.yaml", "old.yml", f"{'x' * 200}.yaml"):
        (folder / name).write_text("[")
    assert set(parsed().dags) == {"backup_window_web", "backup_window_apps"}


def test_sound_files_have_no_import_error(folder):
    bag = parsed("policy_faults.py")
    assert (bag.dags, bag.import_errors) == ({}, {})


def test_an_edit_is_live_when_the_file_is_read_again(folder):
    parsed()
    (folder / "web.yaml").write_text(POLICY.format(name="web").replace("22:00", "20:00"))
    (folder / "apps.yaml").unlink()
    bag = parsed()
    assert [dag.schedule.summary for dag in bag.dags.values()] == ["20:00 to 06:00 Europe/Berlin"]


def test_a_task_reads_no_other_policy_than_its_own(folder, monkeypatch):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "backup_window_web")
    (folder / "apps.yaml").write_text("[")
    assert set(parsed().dags) == {"backup_window_web"}
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "vm_backup")
    assert parsed().dags == {}


def test_a_folder_that_is_gone_is_an_import_error_that_names_it(folder, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(folder / "nowhere"))
    (error,) = parsed().import_errors.values()
    assert f"folder of policies {folder}/nowhere" in error


def test_no_text_of_a_policy_breaks_its_page(folder):
    (folder / "web.yaml").write_text(POLICY.format(name="web") + 'description: "a | b\\n\\n# not a heading"\n')
    page = parsed().dags["backup_window_web"].doc_md
    assert "| **Policy** | web: a &#124; b # not a heading |" in page


def test_a_dag_comes_back_from_airflows_database_with_its_window(folder):
    dag = parsed().dags["backup_window_web"]
    data = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert DagSerialization.from_dict(data).timetable.summary == dag.schedule.summary


NIGHTLY = {"start": "22:00", "end": "06:00", "time_zone": "UTC", "days": ["mon", "tue", "wed"], "blackout": []}
ANY_TIME = TimeRestriction(earliest=None, latest=None, catchup=False)


def at(text: str) -> datetime:
    """A time in the week of Monday the 8th of June 2026."""
    return datetime.fromisoformat(f"2026-06-{text}").replace(tzinfo=UTC)


@pytest.fixture
def next_run(monkeypatch):
    """Return when the next run is due at a moment, after the last one."""
    import pendulum

    def ask(moment: str, last: str | None) -> datetime:
        monkeypatch.setattr("vmkeep_airflow.timetables.now", lambda: at(moment))
        interval = None if last is None else DataInterval.exact(pendulum.instance(at(last)))
        timetable = WindowTimetable(Window.from_plain(NIGHTLY))
        info = timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=ANY_TIME)
        assert info is not None
        assert info.run_after == info.logical_date
        return info.run_after

    return ask


@pytest.mark.parametrize(
    ("moment", "last", "due"),
    [
        ("08T12:00", None, "08T22:00"),  # never ran, and no window is open
        ("08T23:00", None, "08T22:00"),  # never ran, and switched on within a window
        ("09T07:00", "08T22:00", "09T22:00"),
        ("10T22:00", "10T22:00", "15T22:00"),  # over the days without a window
        ("09T23:00", "08T22:00", "09T22:00"),  # late, but within the window
        ("10T12:00", "08T22:00", "09T22:00"),  # one window was missed
        ("19T12:00", "08T22:00", "17T22:00"),  # of several only the last is made up for
    ],
)
def test_there_is_a_run_for_each_opening_and_after_an_outage_one_for_the_last_missed(next_run, moment, last, due):
    assert next_run(moment, last) == at(due)


def test_a_window_that_never_opens_again_has_no_next_run(monkeypatch):
    never = Window.from_plain({**NIGHTLY, "blackout": [["2000-01-01", "2100-01-01"]]})
    run = WindowTimetable(never).next_dagrun_info(last_automated_data_interval=None, restriction=ANY_TIME)
    assert run is None
    late = TimeRestriction(earliest=None, latest=at("01T00:00"), catchup=False)
    monkeypatch.setattr("vmkeep_airflow.timetables.now", lambda: at("08T00:00") + timedelta(hours=1))
    nightly = WindowTimetable(Window.from_plain(NIGHTLY))
    assert nightly.next_dagrun_info(last_automated_data_interval=None, restriction=late) is None

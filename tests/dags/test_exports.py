"""Exports in Airflow: the fields of a form arrive as they were typed, a retry is safe, and a policy's points follow."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    ParamValidationError,
)

from vmkeep.flows import exports
from vmkeep.flows.policy_exports import exports_due
from vmkeep.images import check_export_name, import_images
from vmkeep.model.exports import ExportRequest, ImageFormat
from vmkeep.model.limits import Holder, Limit
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import Drivers, Hypervisor
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.policy import field_of, read_file
from vmkeep.repository import Repository, create_repository
from vmkeep_airflow.operators.choose_exports import ChooseExportsOperator, points_announced
from vmkeep_airflow.operators.export_point import ExportPointOperator, request_from
from vmkeep_airflow.runnotes import subject, written

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
KIB = 1 << 10


@pytest.fixture(scope="module")
def dag():
    return DagBag(str(ROOT / "dags/export_point.py")).dags["export_point"]


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )
    return create_repository(str(tmp_path / "repo"))


def store(repository: Repository, folder: Path, vm: str = "web01", *, content: bytes = b"data" * KIB) -> RestorePoint:
    (folder / "disk.raw").write_bytes(content)
    return import_images(repository, [folder / "disk.raw"], name=vm)


def context_of(**fields: Any) -> Any:
    run = fields.pop("run", "manual__1")
    ti = SimpleNamespace(dag_id="export_point", run_id=run, try_number=1, max_tries=0, xcom_push=lambda *_, **__: None)
    return {"ti": ti, "dag_run": SimpleNamespace(clear_number=fields.pop("clears", 0)), **fields}


def test_the_fields_of_the_form_arrive_as_they_were_typed(dag):
    names = dag.task_dict["export"].request
    defaults = {name: dag.params.get_param(name).resolve(suppress_exception=True) for name in names}

    asked = request_from(defaults | {"point": "latest:app01", "out": "/srv/exports"})
    every = request_from(
        defaults
        | {"point": "p", "format": "raw", "out": "s3://b/x", "disks": [0, "scsi0:1"], "name": "n", "overwrite": True,
           "verify": "all", "to": "proxmox", "drivers": "safe", "convert": True, "networks": ["VM Network=vmbr1"]}
    )  # fmt: skip

    assert asked == ExportRequest(point="latest:app01", format=ImageFormat.QCOW2, out="/srv/exports")
    assert every == ExportRequest(
        point="p", format=ImageFormat.RAW, out="s3://b/x", disks=("0", "scsi0:1"), name="n", overwrite=True,
        verify=Verify.ALL, to=Hypervisor.PROXMOX, drivers=Drivers.SAFE, convert=True, networks=("VM Network=vmbr1",),
    )  # fmt: skip
    assert set(names) == set(ExportRequest.__dataclass_fields__)


def test_disks_are_named_in_lines_of_the_form_and_by_numbers_of_the_api_but_not_otherwise(dag):
    param = dag.params.get_param("disks")
    assert param.schema["items"]["type"] == "string", "else Airflow's form has an editor of JSON"
    for good in ([], None, [0, 2], ["scsi0:1", "Hard disk 2", "0"]):
        assert param.resolve(good) == good
    for bad in ([-1], [1.5], [{}], "0"):
        with pytest.raises(ParamValidationError):
            param.resolve(bad)


def test_a_run_tells_its_point_and_place_at_once_and_the_sizes_at_its_end(repository, tmp_path):
    point = store(repository, tmp_path)
    (tmp_path / "out").mkdir()
    request = {"point": "latest:web01", "format": "raw", "out": str(tmp_path / "out")}

    done = ExportPointOperator(task_id="export", request=request).execute(context_of())

    assert (tmp_path / "out" / done["manifest"]).is_file()
    assert subject("export_point", request) == f"latest:web01 as raw to {tmp_path}/out"
    assert written(done) == [
        point.ref, f"1 disk, 4.0 KiB of data, 4.0 KiB read back: {tmp_path}/out/web01.export.json"
    ]  # fmt: skip
    assert written({}) == []


def test_a_run_tells_how_many_parts_of_the_machine_were_left_behind_and_where_they_are_listed(repository, tmp_path):
    store(repository, tmp_path)
    (tmp_path / "out").mkdir()
    request = {"point": "latest:web01", "format": "ova", "out": str(tmp_path / "out")}

    done = ExportPointOperator(task_id="export", request=request).execute(context_of())

    assert (tmp_path / "out" / done["notes"]).is_file()
    parts = "1 part" if done["left_out"] == 1 else f"{done['left_out']} parts"
    assert written(done)[-1] == f"{parts} of the machine left behind: {tmp_path}/out/web01.notes.txt"


def test_a_task_that_is_killed_stops_leaves_nothing_and_its_retry_makes_the_export(repository, tmp_path, monkeypatch):
    store(repository, tmp_path, content=b"x" * 64 * KIB)
    (tmp_path / "out").mkdir()
    request = {"point": "latest:web01", "format": "raw", "out": str(tmp_path / "out")}
    killed = ExportPointOperator(task_id="export", request=request)
    real = exports.export

    def killed_at_once(*given: Any, check: Any, **named: Any) -> Any:
        killed.on_kill()
        check()
        return real(*given, check=check, **named)

    monkeypatch.setattr(exports, "export", killed_at_once)
    with pytest.raises(AirflowException):
        killed.execute(context_of())
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )

    done = ExportPointOperator(task_id="export", request=request).execute(context_of())
    assert done["bytes_written"] == 64 * KIB


def test_an_export_that_is_there_is_not_replaced_unless_told(repository, tmp_path):
    store(repository, tmp_path)
    (tmp_path / "out").mkdir()
    request = {"point": "latest:web01", "format": "raw", "out": str(tmp_path / "out")}
    ExportPointOperator(task_id="export", request=request).execute(context_of())

    with pytest.raises(AirflowFailException, match="exists"):
        ExportPointOperator(task_id="export", request=request).execute(context_of(run="manual__2"))
    ExportPointOperator(task_id="export", request={**request, "overwrite": True}).execute(context_of(run="manual__2"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_retry_after_a_worker_died_between_publishing_and_reporting_ends_well_and_writes_nothing(
    repository, tmp_path, overwrite
):
    store(repository, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    request = {"point": "latest:web01", "format": "raw", "out": str(out), "overwrite": overwrite}
    operator = ExportPointOperator(task_id="export", request=request)
    lost = operator.execute(context_of())
    before = {path.name: path.stat().st_ino for path in out.iterdir()}

    again = operator.execute(context_of())

    assert {path.name: path.stat().st_ino for path in out.iterdir()} == before
    assert {**again, "duration_seconds": 0} == {**lost, "duration_seconds": 0}


def test_an_export_is_one_of_the_transfers_of_its_repository_and_waits_without_a_worker(
    repository, tmp_path, monkeypatch
):
    store(repository, tmp_path)
    fields = {"conn_type": "vmkeep", "host": str(tmp_path / "repo"), "extra": {"transfers": "1"}}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields))
    request = {"point": "latest:web01", "format": "raw", "out": str(tmp_path)}
    operator = ExportPointOperator(task_id="export", request=request)
    permits = repository.permits(Limit(key="transfers", name="transfers of the repository", most=1))
    permits.take(Holder(owner="other", run="other", what="copy of app01"))

    with pytest.raises(AirflowRescheduleException):
        operator.execute(context_of())
    assert permits.usage().waiting == ("export of web01",)
    assert not (tmp_path / "web01.export.json").exists()
    permits.give_back("other")
    operator.execute(context_of())

    assert (tmp_path / "web01.export.json").exists()
    assert permits.usage().holders == permits.usage().waiting == ()


def test_an_export_that_a_person_clears_is_written_anew_if_it_may_be_replaced(repository, tmp_path):
    store(repository, tmp_path)
    request = {"point": "latest:web01", "format": "raw", "out": str(tmp_path), "overwrite": True}
    operator = ExportPointOperator(task_id="export", request=request)
    done = operator.execute(context_of())
    before = (tmp_path / done["manifest"]).stat().st_ino, (tmp_path / "web01-disk0.raw").stat().st_ino

    operator.execute(context_of(clears=1))

    after = (tmp_path / done["manifest"]).stat().st_ino, (tmp_path / "web01-disk0.raw").stat().st_ino
    assert not set(before) & set(after)


def test_a_retry_takes_no_foreign_and_no_damaged_export_for_its_own(repository, tmp_path):
    store(repository, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    request = {"point": "latest:web01", "format": "raw", "out": str(out)}
    operator = ExportPointOperator(task_id="export", request=request)
    manifest = out / operator.execute(context_of())["manifest"]
    own = json.loads(manifest.read_text())
    assert own["run"].startswith("manual-1-")

    foreign: list[dict[str, Any]] = [
        {"run": None},  # of a command line
        {"run": "manual-2"},
        {"repository": "another"},
        {"point": "another"},
        {"format": "flat"},
        {"disks": [own["disks"][0] | {"root": "0" * 64}]},  # another point was applied
        {"disks": [own["disks"][0] | {"applying": "0" * 64}]},  # another point is half applied
        {"beside": [{"name": "notes.txt", "size": 1}]},
    ]
    for changed in foreign:
        manifest.write_text(json.dumps(own | changed))
        with pytest.raises(AirflowFailException, match="exists"):
            operator.execute(context_of())
    manifest.write_text("no manifest")
    with pytest.raises(AirflowFailException, match="exists"):
        operator.execute(context_of())
    manifest.write_text(json.dumps(own))
    (out / "web01-disk0.raw").unlink()
    with pytest.raises(AirflowFailException, match="exists"):
        operator.execute(context_of())


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "nightly.yaml"
    path.write_text(
        "name: nightly\nselection: name:web*\nwindow: {start: '22:00', end: '06:00', time_zone: UTC}\n"
        f"exports: [{{out: {tmp_path}}}, {{out: 's3://b/x', format: raw, verify: none}}]\n"
    )
    read = read_file(path)
    assert read.lines == ()
    return read.policy


def sealed(repository: Repository, folder: Path, vm: str, policy: str | None, number: int) -> RestorePoint:
    """Seal a point of a policy's VM."""
    from vmkeep.repository import point_id

    point = store(repository, folder, f"scratch-{vm}", content=bytes([number]) * KIB)
    key = f"5029ab12-{vm}"
    made = replace(
        point,
        id=point_id(f"run-{number}", key),
        run=f"run-{number}",
        vm=replace(point.vm, name=vm, key=key),
        policy=policy,
        taken_at=point.taken_at.replace(year=2020, second=number),
        attachments={},
        attachment_sizes={},
    )
    repository.seal(made)
    return made


def announced(*points: str) -> dict[str, Any]:
    return {"triggering_asset_events": {"asset": [SimpleNamespace(extra={"point": ref}) for ref in points]}}


def test_a_policys_new_points_are_exported_to_each_of_its_places_and_nothing_else(repository, policy, tmp_path, caplog):
    first = sealed(repository, tmp_path, "web01", "nightly", 1)
    second = sealed(repository, tmp_path, "web01", "nightly", 2)
    other = sealed(repository, tmp_path, "web02", "weekly", 3)
    bad = sealed(repository, tmp_path, "web03", "nightly", 4)
    repository.marks.mark_damaged(bad.ref, [])
    choose = ChooseExportsOperator(task_id="choose", policy=policy)

    chosen = choose.execute(context_of(**announced(first.ref, second.ref, other.ref, bad.ref, "elsewhere/x")))

    assert [(one["point"], one["format"], one["out"], one["overwrite"]) for one in chosen] == [
        (second.ref, "qcow2", str(tmp_path), True), (second.ref, "raw", "s3://b/x", True),
    ]  # fmt: skip
    assert {one["name"] for one in chosen} == {"web01-5029ab12"}
    with pytest.raises(AirflowSkipException, match="no new point"):
        choose.execute(context_of(**announced(other.ref)))


def test_a_point_that_failed_a_check_replaces_no_export_until_a_check_of_its_kind_passes(repository, policy, tmp_path):
    point = sealed(repository, tmp_path, "web01", "nightly", 1)
    choose = ChooseExportsOperator(task_id="choose", policy=policy)

    def prove(result: ProofResult, hour: int) -> None:
        at = point.taken_at + timedelta(hours=hour)
        repository.proofs.add(point.ref, PointProof(kind=ProofKind.BOOT, result=result, at=at, run=f"r{hour}"))

    for hour, result in enumerate((ProofResult.FAILED, ProofResult.UNDECIDED)):
        prove(result, hour)
        with pytest.raises(AirflowSkipException, match="no new point"):
            choose.execute(context_of(**announced(point.ref)))
        (why,) = exports_due(repository, policy, {point.ref}).left
        assert why.endswith("has failed a check (boot), so it is not exported, and the export before it stays")
    prove(ProofResult.PASSED, 3)
    assert {one["point"] for one in choose.execute(context_of(**announced(point.ref)))} == {point.ref}


def test_a_run_by_hand_exports_the_newest_point_of_each_vm_of_the_policy(repository, policy, tmp_path):
    sealed(repository, tmp_path, "web01", "nightly", 1)
    newest = sealed(repository, tmp_path, "web01", "nightly", 2)
    sealed(repository, tmp_path, "web01", None, 3)  # made by hand
    sealed(repository, tmp_path, "web02", "weekly", 4)

    chosen = ChooseExportsOperator(task_id="choose", policy=policy).execute(context_of())

    assert {one["point"] for one in chosen} == {newest.ref}
    assert points_announced(context_of(triggering_asset_events={})) is None
    end = SimpleNamespace(extra={"policy": "nightly", "run": "r"})
    assert points_announced(context_of(triggering_asset_events={"end": [end]})) == set(), "a window's end tells of none"


def test_the_longest_name_of_a_vm_in_any_script_makes_a_name_of_its_exports(repository, policy, tmp_path):
    sealed(repository, tmp_path, "ア" * 80, "nightly", 1)

    name, *_ = {one["name"] for one in ChooseExportsOperator(task_id="choose", policy=policy).execute(context_of())}

    assert check_export_name(name) == name
    assert name.endswith("ア-5029ab12")


def test_only_a_policy_with_exports_has_a_dag_for_them(policy, monkeypatch):
    assert policy.exports
    folder = Path(policy.exports[0].out)
    (folder / "weekly.yaml").write_text(
        (folder / "nightly.yaml").read_text().partition("exports")[0].replace("name: nightly", "name: weekly")
    )
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(folder))

    bag = DagBag(str(ROOT / "dags/policy_exports.py"))

    assert bag.import_errors == {}
    assert list(bag.dags) == ["policy_exports_nightly"]
    (made,) = bag.dags.values()
    assert all(f"`{task.task_id}`" in made.doc_md for task in made.tasks)
    assert made.is_paused_upon_creation
    assert made.task_dict["export"].partial_kwargs["queue"] == "backup_proxy"
    names = [asset.name for asset in made.timetable.asset_condition.objects]
    assert names == ["vmkeep_policy_points/nightly", "vmkeep_window_ends/nightly"], "no other policy starts a run"
    assert type(made.timetable.asset_condition).__name__.endswith("AssetAny")


def test_a_policy_knows_every_format():
    assert sorted(field_of(("exports", 0, "format"))["enum"]) == sorted(each.value for each in ImageFormat)
    assert sorted(field_of(("exports", 0, "verify"))["enum"]) == sorted(each.value for each in Verify)


def test_a_folder_below_that_of_the_worker_is_refused_because_nobody_knows_where_that_is(repository, tmp_path):
    store(repository, tmp_path)
    request = {"point": "latest:web01", "format": "raw", "out": "exports"}

    with pytest.raises(AirflowException, match="write its whole path"):
        ExportPointOperator(task_id="export", request=request).execute(context_of())

"""Which policy takes a VM, and why; which VMs no policy takes; and how little that asks of a vCenter."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import NotFoundError

POLICY = """\
name: {name}
selection: {selection}
exclusions: ['{exclusion}']
window: {{start: 22:00, end: 06:00, time_zone: UTC}}
"""


@pytest.fixture
def vmkeep(vcenter, tmp_path, monkeypatch):
    password = tmp_path / "password"
    password.write_text(vcenter.password)
    password.chmod(0o600)
    folder = tmp_path / "policies"
    folder.mkdir()
    for name, selection, exclusion in (
        ("web", "name:web* or folder:Production", "name:db01"),
        ("apps", "name:app* and powerstate:on", "none:"),
    ):
        (folder / f"{name}.yaml").write_text(POLICY.format(name=name, selection=selection, exclusion=exclusion))
    for name, value in {
        "VCENTER": f"{vcenter.host}:{vcenter.port}", "USER": vcenter.user, "PASSWORD_FILE": str(password),
        "THUMBPRINT": vcenter.thumbprint, "POLICIES": str(folder),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VMKEEP_{name}", value)

    def run(*arguments):
        return CliRunner().invoke(cli, ["policy", "explain", *arguments], catch_exceptions=False, standalone_mode=False)

    return run


def test_explain_tells_which_policy_takes_a_vm_and_which_conditions_fit(vmkeep):
    document = json.loads(vmkeep("web01", "--json").stdout)
    assert (document["policies"], document["conflict"]) == (["web"], False)
    assert document["inventory_path"] == "/Lab/vm/Production/web01"
    verdicts = {each["policy"]: each for each in document["verdicts"]}
    assert verdicts["web"]["verdict"] == "taken"
    assert verdicts["web"]["conditions"][0] == {"condition": "name:web*", "fits": True}
    assert verdicts["apps"]["verdict"] == "not selected"
    assert [each["fits"] for each in verdicts["apps"]["conditions"]] == [False, True]


def test_explain_shows_every_field_of_the_policy_and_which_are_defaults(vmkeep):
    fields = {each["field"]: each for each in json.loads(vmkeep("web01", "--json").stdout)["fields"]["web"]}
    assert fields["window.start"] == {"field": "window.start", "value": "22:00", "from": ""}
    assert fields["quiesce"] == {"field": "quiesce", "value": "preferred", "from": "default"}
    assert fields["disks.skipped_is_failure"]["from"] == "default"
    assert "window.start" in vmkeep("web01").stdout


def test_of_two_policies_that_select_a_vm_the_first_by_name_has_it_and_explain_says_so(vmkeep):
    document = json.loads(vmkeep("app01", "--json").stdout)
    assert (document["policies"], document["policy"], document["conflict"]) == (["apps", "web"], "apps", True)
    assert "policy apps; web leaves it to apps" in vmkeep("app01").stdout
    assert "several policies select 1 VM" in vmkeep().stderr


def test_a_policy_that_takes_no_vm_is_named_because_its_selection_may_be_misspelt(vmkeep, tmp_path, caplog):
    (tmp_path / "policies" / "gold.yaml").write_text(
        POLICY.format(name="gold", selection="tag:backup/glod", exclusion="none:")
    )
    for arguments in ((), ("--unprotected",), ("--json",)):
        caplog.clear()
        vmkeep(*arguments)
        assert caplog.messages == ["policy gold takes no VM here: tag:backup/glod"]


def test_an_excluded_vm_is_told_which_exclusion_it_fits(vmkeep):
    document = json.loads(vmkeep("db01", "--json").stdout)
    (web,) = [each for each in document["verdicts"] if each["policy"] == "web"]
    assert (document["policies"], web["verdict"], web["selector"]) == ([], "excluded", "name:db01")


def test_vms_that_no_policy_takes_are_listed_and_counted(vmkeep):
    every = json.loads(vmkeep("--json").stdout)
    unprotected = [vm["name"] for vm in every if not vm["policies"]]
    assert "db01" in unprotected
    assert "web01" not in unprotected
    assert [vm["name"] for vm in json.loads(vmkeep("--unprotected", "--json").stdout)] == unprotected
    assert f"no policy takes {len(unprotected)} VMs of {len(every)}" in vmkeep("--unprotected").stderr


def test_a_file_with_faults_takes_no_vm_and_is_said(vmkeep, tmp_path):
    (tmp_path / "policies" / "web.yaml").write_text("name: web\n")
    done = vmkeep("web01", "--json")
    assert json.loads(done.stdout)["policies"] == []
    assert "web.yaml: has 2 faults" in done.stderr


def test_a_vm_that_is_not_there_is_an_error(vmkeep):
    with pytest.raises(NotFoundError, match="nowhere"):
        vmkeep("nowhere")


def test_any_number_of_policies_ask_for_the_inventory_once(vmkeep, lab, tmp_path):
    def calls():
        lab.site.faults.calls.clear()
        vmkeep("--json")
        return len(lab.site.faults.calls)

    before = calls()
    for number in range(5):
        text = POLICY.format(name=f"more{number}", selection=f"name:x{number}", exclusion="none:")
        (tmp_path / "policies" / f"more{number}.yaml").write_text(text)
    assert calls() == before

"""A VM can be named as it is listed, by every command and behind ``latest:``, whatever is in its name."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from tests.command_line import run_here
from tests.integration.flows.restoring import vcenter_of
from tests.patience import HANG
from vmkeep.cli.main import cli
from vmkeep.errors import AmbiguousError
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.names import encode_name
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task

ANOTHERS_PATH = "/Lab/vm/old01"
NAMES = (
    "web01 ", " web01", "a  b", "[prod] web", "a]b", 'rack "6"', '"web01"', "it's", "50%", "a%2fb", "a/b", "/abs",
    ANOTHERS_PATH, "-rf", "--help", "moref:vm-99999", "uuid:x", "ipaddr:10.0.0.1", "name:db", "latest:web01",
    "latest", "a:b@c", "ünï ☃", "日本", "tab\tin it", "back\\slash", "$HOME `x`", "#1; rm", "{a} ${b}", ".hidden",
    "zero\u200bwidth", "%s %d", "web01\u00a0", 'name:"x"',
)  # fmt: skip
ROW = re.compile(r'^\s*(vm-\d+)\s{2,}(name:"(?:\\.|[^"\\])*"|\S(?:.*?\S)?)(?:\s{2,}|$)')


@pytest.fixture(scope="module")
def odd(lab, kept):
    """A small VM of each name, by its id; none of them is a name of the demo's inventory."""
    made = {}
    with open_session(vcenter_of(lab)) as session:
        index = session.content.searchIndex
        folder = index.FindByInventoryPath("Lab/vm/Test")
        pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources/Production")
        for number, name in enumerate(NAMES):
            spec = tiny_vm(encode_name(name), f"[datastore1] odd{number}/odd{number}.vmx")
            task = run_task(
                session,
                lambda spec=spec: folder.CreateVM_Task(spec, pool),
                what="make",
                timeout=HANG,
                look=lambda: None,
            )
            made[task._moId] = name
    return made


def tiny_vm(name, vmx):
    device = vim.vm.device
    scsi = device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
    backing = device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    disk = device.VirtualDisk(key=-2, controllerKey=-1, unitNumber=0, capacityInKB=1024, backing=backing)
    return vim.vm.ConfigSpec(
        name=name, guestId="otherGuest64", memoryMB=64, numCPUs=1, files=vim.vm.FileInfo(vmPathName=vmx),
        deviceChange=[
            device.VirtualDeviceSpec(operation="add", device=scsi),
            device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk),
        ],
    )  # fmt: skip


@pytest.fixture
def vmkeep(lab, kept, tmp_path, monkeypatch):
    """Run a command as a person does who has set the environment."""
    password = tmp_path / "password"
    password.write_text(lab.password)
    password.chmod(0o600)
    for name, value in {
        "VCENTER": f"{lab.host}:{lab.port}", "USER": lab.user, "PASSWORD_FILE": str(password),
        "THUMBPRINT": lab.thumbprint, "VDDK": str(lab.vddk), "REPOSITORY": kept[0].repository,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VMKEEP_{name}", value)

    def run(*arguments):
        done = CliRunner().invoke(cli, [*arguments[:2], "--json", *arguments[2:]])
        assert done.exit_code == 0, f"{arguments}: {done.output}"
        return json.loads(done.stdout)

    return run


def listed(vmkeep, odd):
    return {record["moref"]: record["name"] for record in vmkeep("vm", "list") if record["moref"] in odd}


def printed(odd):
    """Each VM's name as the table has it."""
    table = CliRunner().invoke(cli, ["vm", "list"])
    assert table.exit_code == 0, table.output
    rows = (ROW.match(line) for line in table.stdout.splitlines())
    return {row[1]: row[2] for row in rows if row and row[1] in odd}


def test_every_name_is_listed_as_it_was_given(vmkeep, odd):
    assert listed(vmkeep, odd) == odd


def test_every_name_of_the_table_and_of_json_names_its_vm_and_no_other(vmkeep, lab, odd):
    texts = [*listed(vmkeep, odd).items(), *printed(odd).items()]
    assert len(texts) == 2 * len(NAMES)
    with open_session(vcenter_of(lab)) as session:
        for moref, text in texts:
            if text != ANOTHERS_PATH:
                assert inventory.find_vm(session, text).moref == moref, text


@pytest.mark.parametrize("arguments", [("vm", "show", "-rf"), ("backup", "run", "--web01"), ("restore", "run", "-web")])
def test_a_name_with_a_dash_in_front_is_answered_with_how_to_write_it(arguments):
    done = run_here(*arguments)

    assert "written behind 'name:', or behind '--'" in done.stderr


@pytest.mark.parametrize("name", ["web01 ", "-rf", "moref:vm-99999"])
def test_a_vm_of_an_odd_name_is_backed_up_found_as_latest_and_written_over(vmkeep, odd, name):
    point = vmkeep("backup", "run", *(("--", name) if name.startswith("-") else (name,)))["point"]

    for text in (name, printed(odd)[next(moref for moref, known in odd.items() if known == name)]):
        assert vmkeep("point", "show", f"latest:{text}")["ref"] == point
        assert [entry["ref"] for entry in vmkeep("point", "list", "--vm", text)] == [point]
        kept = vmkeep("restore", "run", f"latest:{text}", "--vm", text, "--on-conflict", "keep")
        assert (odd[kept["vm"]["moref"]], kept["kept"]) == (name, True)


def test_an_inventory_path_finds_the_vm_and_its_newest_point(vmkeep, odd):
    path = "/Lab/vm/Test/a%252fb"
    vm = vmkeep("vm", "show", path)["identity"]

    point = vmkeep("backup", "run", f"name:{path}")["point"]

    assert vm["name"] == "a%2fb"
    assert vmkeep("point", "show", f"latest:{path}")["vm"]["moref"] == vm["moref"]
    assert vmkeep("point", "show", f"latest:name:{path}")["ref"] == point


def test_a_text_that_is_one_vms_path_and_anothers_name_is_refused(vmkeep, lab, odd):
    with open_session(vcenter_of(lab)) as session:
        with pytest.raises(AmbiguousError, match="fits 2 VMs"):
            inventory.find_vm(session, ANOTHERS_PATH)
        for text in ("/Lab/vm/Test/%2fLab%2fvm%2fold01", f'name:"{ANOTHERS_PATH}"'):
            assert inventory.find_vm(session, text).name == ANOTHERS_PATH
        assert inventory.find_vm(session, "old01").name == "old01"

"""Each command in the table for users of VMware's old tools does what the table says, against a simulated vSphere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.command_line import run_here
from tests.integration.flows.restoring import hands
from vmkeep.errors import ConflictError
from vmkeep.repository import create_repository
from vmkeep.vsphere import inventory

PAGE = Path(__file__).parents[3] / "docs/operations/old-tools.md"
ROWS = re.findall(r"^\| `([^`]+)` \| `(vmkeep [^`]+)` \|", PAGE.read_text(), re.MULTILINE)
REFUSED = {"abort": ConflictError.exit_code}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stands for ``/srv`` of the page."""
    made = tmp_path_factory.mktemp("srv")
    (made / "exports").mkdir()
    (made / "vms").mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", made / "vms/nt4.vmdk", "1M"], check=True)
    return made


@pytest.fixture(scope="module")
def vmkeep(lab, folder):
    """Run a command with the settings of the page's reader, who has backed up two VMs."""
    location = str(folder / "repository")
    create_repository(location)
    settings = {
        "VMKEEP_VCENTER": f"{lab.host}:{lab.port}", "VMKEEP_USER": lab.user, "VMKEEP_PASSWORD": lab.password,
        "VMKEEP_THUMBPRINT": lab.thumbprint, "VMKEEP_VDDK": str(lab.vddk), "VMKEEP_REPOSITORY": location,
        "VMKEEP_CATALOG": f"sqlite:///{folder}/catalog.db", "VMKEEP_CONFIG": "/dev/null",
    }  # fmt: skip

    def run(*words):
        return run_here(*words, **settings)

    for words in (["web01"], ["app01", "--include", "scsi0:1"]):
        assert run("backup", "run", *words).returncode == 0
    return run


@pytest.fixture(scope="module")
def real(lab, folder, vmkeep):
    """The words of the page that are other ones here."""
    with hands(lab) as session:
        web01 = inventory.find_vm(session, "web01")
    luns = json.loads(vmkeep("target", "luns", "--json").stdout)
    free = next(lun["choose"] for lun in luns if not lun["use"])
    return {
        "/srv/": f"{folder}/",
        "10.17.5.12": "192.168.10.21",
        "564d78a1-8c1c-59b4-fa02-be14138797be": web01.instance_uuid,
        "vm-27": web01.moref,
        "naa.600": free,
    }


@pytest.mark.parametrize(("old", "new"), ROWS, ids=[new for _, new in ROWS])
def test_each_line_for_users_of_the_old_tools_works(vmkeep, real, folder, old, new):
    for word, here in real.items():
        new = new.replace(word, here)
    words = shlex.split(new)[1:]
    if "--mapping" in words[:-1]:
        saved = vmkeep("point", "show", "latest:web01", "--mapping").stdout
        edited = re.sub(r"^name: .*$", "name: web01 of old", saved, count=1, flags=re.MULTILINE)
        (folder / "web01.yaml").write_text(edited.replace("keep_identity: true", "keep_identity: false"))
    if "export" in words:
        words += ["--force"]

    done = vmkeep(*words)

    assert done.returncode == REFUSED.get(words[-1], 0), done.stderr
    assert done.stdout or done.returncode


def test_the_table_has_every_old_tool():
    assert {old.split()[0] for old, _ in ROWS} - {"cp"} == {
        "vcbMounter", "vcbRestore", "vcbSnapAll", "vcbUtil", "vcbVmName", "vmkfstools",
    }  # fmt: skip
    assert len(ROWS) == PAGE.read_text().count("\n| `")

"""The table of rights: it knows every method that the code calls, and the documented role is what it says."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from pyVmomi import VmomiSupport

from vmkeep.cli.main import cli
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere import configtable
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.rights import STEPS, SYSTEM, On, When, needed, rights_of
from vmlab.managed.provisioning.spec_rights import CREATE_FIELDS
from vmlab.managed.site import BACKUP_PRIVILEGES

PROJECT = Path(__file__).parents[3]
CODE = PROJECT / "include/vmkeep"
OF_THE_STUB = {"DropConnections"}
"""Methods of pyVmomi's stub that share their name with one of vSphere."""
ALIASES = {"RetrieveContent": "RetrieveServiceContent"}
"""The names by which the code calls methods, where they are not those of the wire."""
SETTING_UP = {
    "AddAuthorizationRole", "FetchUserPrivilegeOnEntities", "RetrieveEntityPermissions", "SetEntityPermissions",
    "UpdateAuthorizationRole",
}  # fmt: skip
"""Methods that no run calls, but the person who makes the role and grants it."""
KNOWN = SETTING_UP | {name for steps in STEPS.values() for step in steps for name in step.calls}


def is_method(name: str) -> bool:
    """Return whether vSphere has a method of that name on the wire, e.g. ``CreateSnapshot_Task``."""
    try:
        VmomiSupport.GetWsdlMethod("urn:vim25", name)
    except KeyError:
        return False
    return True


@cache
def called_methods() -> tuple[tuple[str, str], ...]:
    """Every managed method that is named in the code, with the place."""
    return tuple(_called_methods())


def _called_methods() -> Iterator[tuple[str, str]]:
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr not in OF_THE_STUB:
                name = ALIASES.get(node.attr, node.attr)
                if is_method(name):
                    yield name, f"{path.relative_to(PROJECT)}:{node.lineno}"


def test_every_method_that_the_code_calls_stands_in_the_table_of_rights():
    unknown = [f"{name} ({where})" for name, where in called_methods() if name not in KNOWN]

    assert unknown == [], "add these to a step in include/vmkeep/vsphere/rights.py, with the privileges no table tells"


def test_no_step_names_a_method_that_nobody_calls():
    assert KNOWN - {name for name, _ in called_methods()} == set()


def test_the_code_calls_methods_by_the_names_of_the_wire():
    """Else the walk above would not see them: pyVmomi lets ``vm.Reconfigure`` stand for ``ReconfigVM_Task``."""
    managed = (vim.VirtualMachine, vim.vm.Snapshot, vim.Folder, vim.Task, vim.HostSystem, vim.Datastore)
    short = {name for kind in managed for name in dir(kind) if name[0].isupper() and not is_method(name)}
    found = [
        f"{node.attr} ({path.name}:{node.lineno})"
        for path in (CODE / "vsphere").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in short
        for node in [node.func]
    ]
    assert found == []


def test_the_privileges_of_a_method_are_those_of_vsphere_s_own_tables():
    backup = {(right.on, right.privilege) for right in rights_of(Purpose.BACKUP)}
    new = {(right.on, right.privilege) for right in rights_of(Purpose.RESTORE_NEW)}

    assert (On.VM, "VirtualMachine.State.CreateSnapshot") in backup
    assert {(On.FOLDER, "VirtualMachine.Inventory.Create"), (On.POOL, "Resource.AssignVMToPool")} <= new


@pytest.mark.parametrize("purpose", Purpose)
def test_each_right_is_told_once_and_none_that_every_role_has(purpose):
    rights = rights_of(purpose)

    assert len({(right.on, right.privilege, right.when) for right in rights}) == len(rights)
    assert not {right.privilege for right in rights} & set(SYSTEM)


def test_a_right_of_a_circumstance_is_asked_for_in_that_circumstance_alone():
    assert "Cryptographer.Access" not in needed(Purpose.BACKUP)[On.VM]
    assert "Cryptographer.Access" in needed(Purpose.BACKUP, [When.ENCRYPTED])[On.VM]


def test_a_method_whose_privileges_depend_on_its_arguments_has_them_written_down():
    open_ones = {"ReconfigVM_Task", "Destroy_Task"}
    for steps in STEPS.values():
        for step in steps:
            assert step.besides or not open_ones & set(step.calls), step.name


def set_fields() -> Iterator[str]:
    """Every field that the code sets in the spec of a new VM: by name, from a list of names, or as an argument."""
    yield from (*configtable.COPIED, *configtable.UNLESS_USUAL)
    for path in (CODE / "vsphere").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id == "spec":
                    yield node.attr
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "vim.vm.ConfigSpec":
                yield from (keyword.arg for keyword in node.keywords if keyword.arg is not None)


def test_every_field_of_a_new_vm_s_spec_has_its_privilege_in_the_table():
    """The lab's own table says what a field needs; no field is set that the role does not allow."""
    known = {right.privilege for right in rights_of(Purpose.RESTORE_NEW)}
    fields = set(set_fields())

    assert len(fields) > 40
    assert {name: CREATE_FIELDS[name] for name in fields & set(CREATE_FIELDS) if CREATE_FIELDS[name] not in known} == {}


def test_the_lab_s_backup_user_holds_all_of_it():
    assert {right.privilege for purpose in Purpose for right in rights_of(purpose)} - set(BACKUP_PRIVILEGES) == set()


def documented(purpose: Purpose) -> Iterator[str]:
    for on in On:
        for when in (None, *When):
            names = [r.privilege for r in rights_of(purpose) if (r.on, r.when) == (on, when)]
            if names:
                yield (
                    f"| {purpose} | {on}{f', if {when}' if when else ''} | {', '.join(f'`{name}`' for name in names)} |"
                )


def test_the_role_in_the_operations_page_is_the_table_of_rights():
    page = (PROJECT / "docs/operations/vsphere.md").read_text(encoding="utf-8")
    head = "| for | on | privileges |\n|---|---|---|\n"
    table = "\n".join(line for purpose in Purpose for line in documented(purpose))

    assert head in page
    assert page.split(head)[1].split("\n\n")[0] == table


def test_the_command_prints_each_right_with_its_object():
    done = CliRunner().invoke(cli, ["vsphere", "role", "--json"])

    rows = json.loads(done.output)
    found = {(row["for"], row["on"], row["privilege"]) for row in rows}
    assert ("backup", "root", "Global.DisableMethods") in found
    assert ("restore-new", "pool", "Resource.AssignVMToPool") in found
    assert len(rows) == sum(len(rights_of(purpose)) for purpose in Purpose)


def test_the_command_can_be_asked_for_one_kind_of_run():
    done = CliRunner().invoke(cli, ["vsphere", "role", "--for", "backup"])

    assert "VirtualMachine.State.CreateSnapshot" in done.output
    assert "restore" not in done.output

"""vSphere's faults as errors a caller can act on."""

from __future__ import annotations

import pytest

from vmkeep.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    Recovery,
    TransientError,
    VSphereError,
)
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.faults import speaking, translate

VM = vim.VirtualMachine("vm-7")


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (vim.fault.InvalidLogin(msg="Cannot complete login"), AuthenticationError, "user name or password was refused"),
        (vim.fault.NotAuthenticated(object=VM, privilegeId="System.View"), AuthenticationError, "not logged in"),
        (vim.fault.NoPermission(object=VM, privilegeId="X.Y"), PermissionDeniedError, "lacks X.Y on vm-7"),
        (vmodl.fault.ManagedObjectNotFound(obj=VM), NotFoundError, "vm-7 does not exist"),
        (
            vim.fault.DuplicateName(name="a", object=VM, msg="The name 'a' exists."),
            ConflictError,
            "The name 'a' exists.",
        ),
        (vim.fault.TaskInProgress(task=vim.Task("task-9"), msg="busy"), TransientError, "busy"),
        (vim.fault.NoDiskSpace(datastore="ds1", msg="No space"), VSphereError, "No space; datastore ds1"),
        (vmodl.fault.SystemError(reason="boom"), VSphereError, "SystemError; reason boom"),
    ],
)
def test_each_fault_becomes_the_error_that_says_what_to_do(fault, kind, words):
    with pytest.raises(kind, match="snapshot VM vm-7") as caught, speaking("snapshot VM vm-7"):
        raise fault

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_privilege_is_named_apart():
    error = translate(vim.fault.NoPermission(object=VM, privilegeId="VirtualMachine.State.CreateSnapshot"), "x")

    assert isinstance(error, PermissionDeniedError)
    assert (error.privilege, error.target) == ("VirtualMachine.State.CreateSnapshot", "vm-7")


def test_every_privilege_that_a_server_lists_as_missing_is_named():
    store = vim.Datastore("datastore-3")
    missing = [
        vim.fault.NoPermission.EntityPrivileges(entity=VM, privilegeIds=["A.B", "A.C"]),
        vim.fault.NoPermission.EntityPrivileges(entity=store, privilegeIds=["D.E"]),
    ]
    error = translate(vim.fault.NoPermission(object=VM, privilegeId="A.B", missingPrivileges=missing), "x")

    assert "the user lacks A.B, A.C on vm-7; D.E on datastore-3" in str(error)


def test_a_fault_of_many_lines_is_told_on_one():
    why = vmodl.LocalizableMessage(key="a", message="the guest\n did not answer")
    error = translate(vim.fault.ApplicationQuiesceFault(msg="An error\noccurred", faultMessage=[why]), "x")

    assert str(error) == "x: An error occurred; the guest did not answer"
    assert isinstance(error, VSphereError)
    assert (error.fault, error.recovery) == ("ApplicationQuiesceFault", Recovery.STOP)


def test_what_a_fault_says_in_no_language_is_kept():
    cause = vim.fault.FilesystemQuiesceFault(faultMessage=[vmodl.LocalizableMessage(key="msg.b", message="x")])
    key = vmodl.LocalizableMessage(key="msg.snapshot.error-QUIESCINGERROR", message="Gast liess sich nicht einfrieren")
    error = translate(vim.fault.SnapshotFault(msg="Fehler", faultMessage=[key], faultCause=cause), "x")

    assert isinstance(error, VSphereError)
    assert error.keys == ("msg.snapshot.error-QUIESCINGERROR", "FilesystemQuiesceFault", "msg.b")

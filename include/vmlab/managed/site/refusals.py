"""The faults that refuse a caller: no session, a wrong password, a missing privilege."""

from typing import Any

from vmlab.api import vim


def no_permission(entity: Any, privilege: str) -> Any:
    """The fault for a missing privilege."""
    message = f"Permission to perform this operation was denied. Missing privilege {privilege}"
    missing = [vim.fault.NoPermission.EntityPrivileges(entity=entity, privilegeIds=[privilege])]
    return vim.fault.NoPermission(object=entity, privilegeId=privilege, missingPrivileges=missing, msg=message)


def session_needed(ref: Any) -> Any:
    """The fault for a call without a valid session."""
    return vim.fault.NotAuthenticated(object=ref, privilegeId="System.View", msg="The session is not authenticated.")


def invalid_login() -> Any:
    """The fault for a wrong user or password."""
    return vim.fault.InvalidLogin(msg="Cannot complete login due to an incorrect user name or password.")

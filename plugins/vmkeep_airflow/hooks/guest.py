"""The connection type ``vmkeep_guest``: a user of guests, for commands around a snapshot."""

from __future__ import annotations

from airflow.sdk import BaseHook

from vmkeep.errors import UsageError
from vmkeep.model.guest import GuestLogin
from vmkeep_airflow.hooks.fields import load_connection, required


class GuestHook(BaseHook):
    """Read a ``vmkeep_guest`` connection.

    :param guest_conn_id: Airflow connection with the guest's user and password.
    """

    conn_name_attr = "guest_conn_id"
    default_conn_name = "guest_default"
    conn_type = "vmkeep_guest"
    hook_name = "VMware guest user"

    def __init__(self, guest_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.guest_conn_id = guest_conn_id

    def get_conn(self) -> GuestLogin:
        """Return the user and the password, without contacting a guest."""
        connection = load_connection(self.guest_conn_id, conn_type=self.conn_type)
        return GuestLogin(
            user=required(connection, "login", label="user"),
            password=required(connection, "password", label="password"),
        )


def guest_login(name: str) -> GuestLogin:
    """Return the login that a connection holds, for the engine's steps.

    :param name: the connection's id, or the word of the command line for a user that only its caller knows.
    """
    if name.startswith("user:"):
        raise UsageError(f"the guest's {name} is known to the command line alone: thaw the guest by 'vmkeep vm thaw'")
    return GuestHook(name).get_conn()

"""Everything that can be set once: by a variable of the environment, or by a key of the configuration file.

One table, from which the options take their variables, ``vmkeep help environment`` its text, ``vmkeep config show`` its
rows, and the file the keys that it may have. :mod:`vmkeep.cli.configuration` looks the values up.
"""

from __future__ import annotations

from typing import Final

from vmkeep.lateclass import dataclass

COMPLETE: Final = "_VMKEEP_COMPLETE"
"""The variable by which a shell asks for completions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set."""

    variable: str
    meaning: str
    option: str | None = None
    """The option that says the same for one command."""
    is_path: bool = False
    """It names a file or a folder."""
    secret: bool = False
    """It is a secret, so that no file may hold it and no list shows it."""

    @property
    def key(self) -> str:
        """The key in the configuration file."""
        return self.variable.removeprefix("VMKEEP_").lower()


REPOSITORY: Final = Setting(variable="VMKEEP_REPOSITORY", option="--repository", meaning="Location of the repository.")
PASSPHRASE: Final = Setting(
    variable="VMKEEP_PASSPHRASE", secret=True, meaning="Passphrase or recovery key of an encrypted repository."
)
PASSPHRASE_FILE: Final = Setting(
    variable="VMKEEP_PASSPHRASE_FILE", option="--passphrase-file", is_path=True,
    meaning="File with the passphrase or recovery key of an encrypted repository.",
)  # fmt: skip
NEW_PASSPHRASE: Final = Setting(
    variable="VMKEEP_NEW_PASSPHRASE", secret=True, meaning="New passphrase, for 'key add' and 'key rotate'."
)
SECOND_PASSPHRASE: Final = Setting(
    variable="VMKEEP_SECOND_PASSPHRASE", secret=True,
    meaning="Passphrase of the second repository, for 'repo copy' and 'repo repair heal'.",
)  # fmt: skip
SECOND_PASSPHRASE_FILE: Final = Setting(
    variable="VMKEEP_SECOND_PASSPHRASE_FILE", option="--second-passphrase-file", is_path=True,
    meaning="File with the passphrase of the second repository.",
)  # fmt: skip
LIMIT_RATE: Final = Setting(
    variable="VMKEEP_LIMIT_RATE", option="--limit-rate", meaning="Bytes per second to and from the repository."
)
VCENTER: Final = Setting(variable="VMKEEP_VCENTER", option="--vcenter", meaning="vCenter or ESXi host.")
USER: Final = Setting(variable="VMKEEP_USER", option="--user", meaning="User at the vCenter.")
PASSWORD: Final = Setting(variable="VMKEEP_PASSWORD", secret=True, meaning="Password of that user.")
PASSWORD_FILE: Final = Setting(
    variable="VMKEEP_PASSWORD_FILE",
    option="--password-file",
    is_path=True,
    meaning="File with the password of the vCenter's user.",
)
THUMBPRINT: Final = Setting(
    variable="VMKEEP_THUMBPRINT", option="--thumbprint", meaning="SHA-1 or SHA-256 of the vCenter's certificate."
)
CA_FILE: Final = Setting(
    variable="VMKEEP_CA_FILE", option="--ca-file", is_path=True,
    meaning="Certificate authorities to verify the vCenter with, instead of a thumbprint.",
)  # fmt: skip
GUEST_USER: Final = Setting(
    variable="VMKEEP_GUEST_USER", option="--guest-user", meaning="User of the guest, for commands in it."
)
GUEST_PASSWORD: Final = Setting(variable="VMKEEP_GUEST_PASSWORD", secret=True, meaning="Password of the guest's user.")
GUEST_PASSWORD_FILE: Final = Setting(
    variable="VMKEEP_GUEST_PASSWORD_FILE", option="--guest-password-file", is_path=True,
    meaning="File with the password of the guest's user.",
)  # fmt: skip
VDDK: Final = Setting(
    variable="VMKEEP_VDDK", option="--vddk", is_path=True, meaning="Folder of VDDK, the one that holds lib64/."
)
DISK_DRIVERS: Final = Setting(
    variable="VMKEEP_DISK_DRIVERS",
    meaning="Disk drivers to try, the preferred one first, joined by colons; by default all that are installed.",
)
ARRAY_HOOK: Final = Setting(
    variable="VMKEEP_ARRAY_HOOK",
    meaning="Command, by its full path, or entry point that runs before and after the copy of each VM.",
)
ARRAY_HOOK_SECONDS: Final = Setting(
    variable="VMKEEP_ARRAY_HOOK_SECONDS", meaning="Time limit of that hook in seconds; 300 by default."
)
LIMITS: Final = Setting(
    variable="VMKEEP_LIMITS",
    meaning="Limits on work at the same time, e.g. nfc=8, snapshots=8, free=5%, transfers=16.",
)
CATALOG: Final = Setting(
    variable="VMKEEP_CATALOG",
    meaning="SQLAlchemy URL of the catalog; by default a SQLite file in the state folder of the user.",
)
CACHE: Final = Setting(
    variable="VMKEEP_CACHE", is_path=True, meaning="Folder of the index cache; by default that of the user's caches."
)
TIME_ZONE: Final = Setting(
    variable="VMKEEP_TIME_ZONE",
    option="--time-zone",
    meaning="Where days and weeks begin, and by whose clock lists show times; UTC by default.",
)
POLICIES: Final = Setting(
    variable="VMKEEP_POLICIES", option="--policies", is_path=True,
    meaning="Folder of the policy files; by default that of the example that comes with vmkeep.",
)  # fmt: skip
AIRFLOW_URL: Final = Setting(
    variable="VMKEEP_AIRFLOW_URL", option="--airflow-url", meaning="Address of Airflow's pages, for 'vmkeep run'."
)
AIRFLOW_USER: Final = Setting(
    variable="VMKEEP_AIRFLOW_USER", option="--airflow-user", meaning="User of Airflow, for 'vmkeep run'."
)
AIRFLOW_PASSWORD: Final = Setting(variable="VMKEEP_AIRFLOW_PASSWORD", secret=True, meaning="Password of that user.")
AIRFLOW_PASSWORD_FILE: Final = Setting(
    variable="VMKEEP_AIRFLOW_PASSWORD_FILE", option="--airflow-password-file", is_path=True,
    meaning="File with the password of Airflow's user.",
)  # fmt: skip
AIRFLOW_TOKEN: Final = Setting(
    variable="VMKEEP_AIRFLOW_TOKEN", secret=True, meaning="Token of Airflow's API, in place of user and password."
)
CLAMAV: Final = Setting(
    variable="VMKEEP_CLAMAV", option="--clamav",
    meaning="ClamAV for scans: the socket of clamd, HOST:PORT, or a folder of signatures.",
)  # fmt: skip
YARA: Final = Setting(variable="VMKEEP_YARA", meaning="Files and folders of YARA rules for scans, parted by colons.")

SETTINGS: Final = (
    REPOSITORY, PASSPHRASE, PASSPHRASE_FILE, NEW_PASSPHRASE, SECOND_PASSPHRASE, SECOND_PASSPHRASE_FILE, LIMIT_RATE,
    VCENTER, USER, PASSWORD, PASSWORD_FILE, THUMBPRINT, CA_FILE, GUEST_USER, GUEST_PASSWORD,
    GUEST_PASSWORD_FILE, VDDK, DISK_DRIVERS, ARRAY_HOOK, ARRAY_HOOK_SECONDS, LIMITS, CATALOG, CACHE, TIME_ZONE,
    POLICIES, AIRFLOW_URL, AIRFLOW_USER, AIRFLOW_PASSWORD, AIRFLOW_PASSWORD_FILE, AIRFLOW_TOKEN, CLAMAV, YARA,
)  # fmt: skip
"""All of them, in the order in which people look for them."""

"""Optional packages: turns the failed import of one into an error that says how to install it.

The base installation serves a repository in a local folder. Everything else needs an extra of the package, which
pyproject.toml names. Code that needs an extra imports its packages inside :func:`needs_extra`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vmkeep.errors import MissingExtraError

_BRINGS: Final[dict[str, tuple[str, ...]]] = {
    "airflow": ("airflow", "botocore"),
    "s3": ("botocore", "obstore"),
    "quality": ("great_expectations",),
    "ssh": ("paramiko",),
    "malware": ("yara_x",),
}
"""The packages of each extra that vmkeep's modules import."""


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Run imports of packages that only an extra brings.

    :param what: the thing that needs the package, for example a location; for the message.
    :raises MissingExtraError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _BRINGS[extra]:
            raise
        raise MissingExtraError(f"{what}: needs the Python module {error.name}; {how_to_install(extra)}") from error


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, as the end of a message."""
    return f"install it with: pip install 'vmkeep[{extra}]'"

"""Optional packages: the failed import of one becomes an error that says how to install it.

The base installation serves a repository in a local folder. Everything else is an extra of the package, named in
pyproject.toml, and each door to it (a location, a key) is opened inside :func:`needs_extra`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vmkeep.errors import MissingExtraError

_BRINGS: Final[dict[str, tuple[str, ...]]] = {
    "airflow": ("airflow", "botocore"),
    "s3": ("botocore", "obstore"),
    "ssh": ("paramiko",),
}
"""Extra → the packages that our modules import of it."""


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Import a package that only an extra brings.

    :param what: the place or thing that needs it, for the message.
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

"""The values of the settings: an option comes before the environment, the environment before the configuration file.

The file is TOML, flat, and holds no secret: everybody copies such files, and backs them up. It is read only when a
command needs a value from it, so that ``--help`` works beside a broken one.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from vmkeep.cli.settings import SETTINGS, Setting
from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass

VARIABLE = "VMKEEP_CONFIG"
"""Names another file than the one in the user's configuration folder."""
_LARGEST = 1 << 16
"""Bytes of the largest file that is taken for a configuration."""
_SECRET = re.compile(r"passw(or)?d|pass_?phrase|\bpw\b|pwd|secret|token|(access|api)_?key", re.IGNORECASE)
_LOGIN = re.compile(r"(?:^|^//|://)[^/:]*:(?!\d+/|//).+@")
"""A password between the name of a user and that of a host. The password may hold any character: people paste them."""
_ASSIGNED = re.compile(r"([^\s?&;#=/:@]+)\s*=")
"""The name in front of a value, in an address or in the ``name=value`` form of a database's driver."""
_OPEN = {setting.key: setting for setting in SETTINGS if not setting.secret}


def in_environment(setting: Setting) -> str | None:
    """Return the value of a setting's variable, if it has one; an empty one says that nothing is set."""
    return os.environ.get(setting.variable)


def in_file(setting: Setting) -> str | None:
    """Return a setting's value in the configuration file, unless its variable hides it.

    :raises UsageError: the file cannot be used.
    """
    if setting.secret or in_environment(setting) is not None:
        return None
    return load().get(setting.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The value of a setting, and its source."""

    value: str | None
    source: str
    hidden: bool = False
    """The value is a secret, or holds one."""


def find(setting: Setting) -> Found:
    """Return a setting's value and its source, in words."""
    if value := in_environment(setting):
        hidden = setting.secret or _holds_password(value)
        return Found(value=value, source=f"environment variable {setting.variable}", hidden=hidden)
    if (value := in_file(setting)) is not None:
        return Found(value=value, source="configuration file")
    return Found(value=None, source="not set")


def value_of(setting: Setting) -> str | None:
    """Return the value that is set, in the environment or else in the file."""
    return in_environment(setting) or in_file(setting)


def require(setting: Setting, given: str | None) -> str:
    """Return the value that was given for a setting.

    :raises UsageError: none was.
    """
    if given:
        return given
    name, file = setting.option or setting.variable, config_path()
    there = f", or {setting.key} in {file}" if file is not None and file != Path(os.devnull) else ""
    raise UsageError(f"{name} is missing: give it, or set {setting.variable}{there}")


def config_path() -> Path | None:
    """Return where the configuration file is, or would be; ``None``: the user has no home folder."""
    if chosen := os.environ.get(VARIABLE):
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            raise UsageError(f"{VARIABLE}={chosen}: the home folder of that user is not known") from error
    if (folder := user_folder("XDG_CONFIG_HOME", ".config")) is None:
        return None
    return folder / "config.toml"


def user_folder(variable: str, under_home: str) -> Path | None:
    """Return the user's folder of one kind for vmkeep; ``None``: the user has no home folder.

    A relative path counts as not set, as the XDG rules say: it would be another folder wherever a command is started.
    """
    chosen = Path(os.environ.get(variable, ""))
    if chosen.is_absolute():
        return chosen / "vmkeep"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / under_home / "vmkeep" if home.is_absolute() else None


def load() -> dict[str, str]:
    """Return what the configuration file sets, by key; nothing where there is no file.

    :raises UsageError: the file cannot be read, or holds something that does not belong there.
    """
    path = config_path()
    if path is None or (text := _text(path)) is None:
        return {}
    import tomllib  # here, as difflib below, because most commands start without a file, or with a right one

    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # its numbers and its nesting have bounds that are Python's own
        raise UsageError(f"configuration file {path}: it is not valid TOML: {error}") from error
    return {key: _checked(key, value, where=_where(path, text, key)) for key, value in table.items()}


def _text(path: Path) -> str | None:
    try:
        # Opened so that a pipe, to which nobody may ever write, is not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            mode = status.st_mode
            if not stat.S_ISREG(mode) and not path.samefile(os.devnull):
                raise UsageError(f"configuration file {path}: is no file: name one that can be read again and again")
            content = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        if os.environ.get(VARIABLE):
            raise UsageError(f"configuration file {path}: no such file; {VARIABLE} names it") from error
        return None
    except OSError as error:
        raise UsageError(f"configuration file {path}: {error.strerror}") from error
    if stat.S_ISREG(mode) and (mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_own_group(status.st_gid))):
        raise UsageError(f"configuration file {path} can be changed by other users: run 'chmod go-w {path}'")
    if len(content) > _LARGEST:
        raise UsageError(f"configuration file {path}: is longer than {_LARGEST} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"configuration file {path}: is no text in UTF-8: save it as UTF-8") from error


def _is_own_group(group_id: int) -> bool:
    """Return whether a group is the one that many systems make for each user, with this user as its only member."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and group.gr_gid == user.pw_gid and set(group.gr_mem) <= {user.pw_name}


def _where(path: Path, text: str, key: str) -> str:
    """Return the file and, where it can be told, the line of a key."""
    begins = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if begins.match(line)]
    return f"configuration file {path}, line {lines[0]}" if lines else f"configuration file {path}"


def _checked(key: str, value: Any, *, where: str) -> str:
    setting = _OPEN.get(key)
    if setting is None:
        raise UsageError(f"{where}: {_refusal(key)}")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} has to be a text in quotes")
    if not value.strip() or not value.isprintable():
        raise UsageError(f"{where}: {key} is empty, or holds a line end: give one line of text, or leave the key out")
    if _holds_password(value):
        raise UsageError(f"{where}: {key} holds a password, and no configuration file may: leave it out of the address")
    return _whole_path(key, value, where=where) if setting.is_path or _is_folder(setting, value) else value


def _refusal(key: str) -> str:
    """Say why a key is not taken, without its value."""
    meant = key.replace("-", "_").lower()
    if _SECRET.search(key) and not meant.endswith("_file"):
        files = ", ".join(name for name in _OPEN if _SECRET.search(name))
        return (
            f"'{key}' would be a secret, and no configuration file may hold one: put it into a file that only you "
            f"can read, and name that file ({files})"
        )
    import difflib

    near = difflib.get_close_matches(meant, _OPEN, n=1)
    return f"there is no setting '{key}'; " + (
        f"did you mean '{near[0]}'?" if near else f"the settings are {', '.join(_OPEN)}"
    )


def _holds_password(value: str) -> bool:
    return bool(_LOGIN.search(value)) or any(_SECRET.search(name) for name in _ASSIGNED.findall(unquote(value)))


def _is_folder(setting: Setting, value: str) -> bool:
    return setting.key == "repository" and "://" not in value


def _whole_path(key: str, value: str, *, where: str) -> str:
    """Return a path that means the same wherever a command is started."""
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{where}: {key}: {error}") from error
    if not path.is_absolute():
        raise UsageError(f"{where}: {key} is a relative path: begin it with / or ~/")
    return str(path)

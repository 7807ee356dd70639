"""Starts a daemon of ClamAV for one scan, with limits that it tells of, and ends it.

Its signatures are loaded once, which takes a minute and more than a gigabyte of memory with those of ClamAV's makers.
The daemon reads what strangers wrote, so that it does not run as root where the user ``clamav`` exists.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vmkeep.clock import Deadline
from vmkeep.errors import TransferError, UnreachableError, UnsupportedError, UsageError
from vmkeep.scanning.clamd import ClamdAddress, ask
from vmkeep.scanning.contract import LARGEST
from vmkeep.scratch import private_folder, writing_to

_START_SECONDS: Final = 300.0
_END_SECONDS: Final = 5.0
_PAUSE: Final = 0.05
_LAST_WORDS: Final = 2000
_USER: Final = "clamav"
_SIGNATURES: Final = frozenset(
    {".cvd", ".cld", ".cud", ".ndb", ".ndu", ".hdb", ".hdu", ".hsb", ".hsu", ".mdb", ".mdu", ".msb", ".ldb", ".ldu"}
)
"""Kinds of files from which ClamAV takes signatures."""
_CONFIG: Final = """\
Foreground yes
LocalSocket {folder}/clamd
LocalSocketMode 600
DatabaseDirectory {signatures}
TemporaryDirectory {folder}
MaxThreads {threads}
SelfCheck 0
ExitOnOOM yes
AlertExceedsMax yes
AlertEncrypted yes
StreamMaxLength {largest}
MaxFileSize {largest}
MaxScanSize {unpacked}
MaxScanTime 300000
"""


@contextmanager
def own_daemon(signatures: Path, *, threads: int) -> Iterator[ClamdAddress]:
    """Start a daemon with the signatures in a folder, and end it with the context.

    The kernel kills it when the thread that has called this ends, so that none outlives its owner.

    :raises UsageError: the folder holds no signatures.
    :raises UnsupportedError: clamd is not installed.
    :raises TransferError: the daemon did not start. The message has its reason.
    """
    signatures = signatures.absolute()
    newest_signature(signatures)
    program = find_program("clamd", "clamav-daemon")
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        config = folder / "clamd.conf"
        with writing_to(folder):
            config.write_text(
                _CONFIG.format(
                    folder=folder, signatures=signatures, threads=threads, largest=LARGEST, unpacked=4 * LARGEST - 1
                )
            )
            words = stack.enter_context((folder / "words").open("w+b"))
        process = subprocess.Popen(
            [find_program("setpriv", "util-linux"), *_as_stranger(folder, config), "--pdeathsig", "KILL", "--", program,
             f"--config-file={config}"],
            stdin=subprocess.DEVNULL, stdout=words, stderr=words, cwd=folder, start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, process)
        address = ClamdAddress(path=folder / "clamd")
        _wait_until_up(process, address, folder / "words")
        yield address


def newest_signature(folder: Path) -> datetime:
    """Return the time of the newest file of signatures in a folder.

    :raises UsageError: there is none.
    """
    try:
        times = [file.stat().st_mtime for file in folder.iterdir() if file.suffix in _SIGNATURES]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}") from error
    if not times:
        raise UsageError(f"{folder}: holds no signatures of ClamAV (*.cvd, *.cld, *.ndb, …): let freshclam fetch them")
    return datetime.fromtimestamp(max(times), UTC)


def _as_stranger(folder: Path, config: Path) -> list[str]:
    """Return the arguments by which the daemon runs as ClamAV's user, who may then write to the folder."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam(_USER)
    except KeyError:
        return []
    for path in (folder, config):
        os.chown(path, user.pw_uid, user.pw_gid)
    return ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]


def find_program(name: str, package: str) -> str:
    """Return the path of a program.

    :raises UnsupportedError: it is not installed. The message names the package that brings it.
    """
    # Debian keeps daemons in a folder that is not on the path of every user.
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if found is None:
        raise UnsupportedError(f"{name} is not installed on this machine: install {package} (Debian, Ubuntu)")
    return found


def _wait_until_up(process: subprocess.Popen[bytes], address: ClamdAddress, words: Path) -> None:
    deadline = Deadline(_START_SECONDS, waiting_for="clamd to load its signatures")
    while True:
        if process.poll() is not None:
            said = words.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace")
            reason = "; ".join([line.strip() for line in said.splitlines() if line.strip()][-3:])
            raise TransferError(f"clamd did not start: {reason or f'it ended with {process.returncode}'}")
        with suppress(UnreachableError):
            if ask(address, "PING") == "PONG":
                return
        deadline.pause(_PAUSE)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
        return
    process.kill()
    process.wait()

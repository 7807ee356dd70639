"""Checks the files of an OVF or OVA against its manifest, while the disks are being stored."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType

from vmkeep.errors import UsageError
from vmkeep.formats import ImageFile
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_LARGEST = 1 << 20
_REPORT_EVERY = 0.5
"""Seconds."""
_PIECE = 1 << 20
_LINE = re.compile(r"(SHA1|SHA256|SHA512)\s*\((.{1,255})\)\s*=\s*([0-9A-Fa-f]{40,128})")


def parse_manifest(name: str, text: bytes) -> dict[str, tuple[str, str]]:
    """Return (name of the hash, digest in hex) of each file that a manifest lists.

    :raises UsageError: a line of it cannot be understood.
    """
    if len(text) > _LARGEST:
        raise UsageError(f"{name}: has {len(text)} bytes; {_LARGEST} is the limit of a manifest")
    found = {}
    for count, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        if (matched := _LINE.fullmatch(line.strip())) is None:
            raise UsageError(f"{name}, line {count}: is no digest of a file: '{line[:60]}'")
        found[matched[2]] = matched[1].lower(), matched[3].lower()
    return found


class ManifestCheck:
    """Reads files in threads of its own and compares them with a manifest. A context manager."""

    def __init__(self, manifest: Mapping[str, tuple[str, str]]) -> None:
        self._manifest = manifest
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=2)
        self._running: list[Future[None]] = []
        self._total = self._done = 0
        self._lock = threading.Lock()

    def __enter__(self) -> ManifestCheck:  # noqa: PYI034
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what still runs."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def require(self, name: str, text: bytes) -> None:
        """Compare a text with the manifest now, if it lists the text's file.

        :raises UsageError: they differ.
        """
        if (told := self._manifest.get(name)) is not None:
            digest = hashlib.new(told[0], usedforsecurity=False)
            digest.update(text)
            _require_equal(name, digest.hexdigest(), told)

    def begin(self, name: str, size: int, open_file: Callable[[], ImageFile]) -> bool:
        """Begin to compare a file with the manifest. Return whether the manifest lists it.

        :param size: bytes of the file.
        """
        if (told := self._manifest.get(name)) is None:
            return False
        self._total += size
        self._running.append(self._pool.submit(self._compare, name, open_file, told))
        return True

    def finish(self, on_progress: OnProgress) -> None:
        """Wait until all files are compared.

        :raises UsageError: one differs.
        """
        counter = ProgressCounter("comparing with the manifest", self._total, done=self._done)
        while wait(self._running, timeout=_REPORT_EVERY).not_done:
            counter.add(self._done - counter.done)
            on_progress(counter.event())
        for running in self._running:
            running.result()

    def _compare(self, name: str, open_file: Callable[[], ImageFile], told: tuple[str, str]) -> None:
        digest = hashlib.new(told[0], usedforsecurity=False)
        with open_file() as file:
            at = 0
            while at < file.size and not self._stop.is_set():
                length = min(_PIECE, file.size - at)
                digest.update(file.read(at, length))
                at += length
                with self._lock:
                    self._done += length
        if not self._stop.is_set():
            _require_equal(name, digest.hexdigest(), told)


def _require_equal(name: str, digest: str, told: tuple[str, str]) -> None:
    if digest != told[1]:
        raise UsageError(
            f"{name}: its {told[0].upper()} is {digest}, and the manifest tells {told[1]}: the file was changed or "
            "damaged after the export; nothing was stored"
        )

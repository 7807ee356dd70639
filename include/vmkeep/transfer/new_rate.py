"""Changes the rate limit of a transfer while it runs: the parent sends the new limit, and the child goes by it at once.

Nothing heavy is imported here, because the child imports this module at its start.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import Final

RATE: Final = b"rate "
"""Beginning of a line on the child's stdin that brings a new rate limit."""


def encode_rate(limit_rate: str | None) -> bytes:
    """Return a line for the child's stdin that carries a rate limit; ``None``: there is no limit any more."""
    return RATE + json.dumps(limit_rate).encode() + b"\n"


class NewRate:
    """The child's side. A limit that comes before the repository is open holds from its opening on."""

    def __init__(self, repository: str) -> None:
        """Prepare for the repository at a location."""
        self._repository = repository
        self._lock = Lock()
        self._is_open = False
        self._sent: list[str | None] = []

    def take(self, line: bytes) -> None:
        """Take a line that begins with :data:`RATE`, whose limit the parent has found to be good."""
        with self._lock:
            self._sent = [json.loads(line[len(RATE) :])]
            self._apply()

    def begin(self) -> None:
        """Say that the repository is open now."""
        with self._lock:
            self._is_open = True
            self._apply()

    def _apply(self) -> None:
        if self._is_open and self._sent:
            from vmkeep.blobs import change_rate

            change_rate(self._repository, self._sent[0])

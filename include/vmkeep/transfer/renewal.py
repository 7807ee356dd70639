"""Renews credentials that expire before a transfer ends: the parent renews them, and sends them to the child.

Only the parent has Airflow's connection, the assumed role and its secrets. The child gets nothing but keys that are
valid for a while. Nothing heavy is imported here, because the child imports this module at its start.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from typing import Final

from vmkeep.errors import VmKeepError
from vmkeep.model.aws import AwsCredentials
from vmkeep.model.site import Site

log = logging.getLogger(__name__)

WORD: Final = b"aws "
"""Beginning of a line on the child's stdin that brings new credentials."""
EVERY: Final = 120.0
"""Seconds between two looks. Credentials are renewed at least ten minutes before they expire."""


class Renewer:
    """The parent's side. It asks for credentials now and then, and sends new ones to the child."""

    def __init__(self, aws: AwsCredentials | None, say: Callable[[bytes], None]) -> None:
        self._renew = aws.renew if aws else None
        self._known = aws
        self._say = say
        self._asked_at = time.monotonic()

    def poll(self) -> None:
        """Ask for credentials if it is time. Call this often."""
        if self._renew is None or time.monotonic() - self._asked_at < EVERY:
            return
        self._asked_at = time.monotonic()
        try:
            found = self._renew()
        except VmKeepError as error:
            log.warning("AWS credentials could not be renewed, and will be asked for again: %s", error)
            return
        if found != self._known:
            self._known = found
            self._say(encode(found))


def encode(aws: AwsCredentials) -> bytes:
    """Return a line for the child's stdin that carries credentials."""
    return WORD + json.dumps(dataclasses.asdict(dataclasses.replace(aws, renew=None))).encode() + b"\n"


class Renewed:
    """The child's side. It holds the newest credentials that the parent has sent."""

    def __init__(self, first: AwsCredentials) -> None:
        self._newest = first

    def take(self, line: bytes) -> None:
        """Take a line that begins with :data:`WORD`, and keep its credentials."""
        self._newest = AwsCredentials(**json.loads(line[len(WORD) :]))

    def newest(self) -> AwsCredentials:
        """Return the newest credentials that the parent has sent."""
        return self._newest


def receive(site: Site) -> tuple[Site, Renewed | None]:
    """Return a child's site, and the object that takes new credentials for it; ``None``: they do not expire."""
    if site.aws is None or not site.aws.token:
        return site, None
    renewed = Renewed(site.aws)
    return dataclasses.replace(site, aws=dataclasses.replace(site.aws, renew=renewed.newest)), renewed

"""Credentials that run out before a transfer ends: its parent renews them, and tells the child the new ones.

The parent is where Airflow's connection, the assumed role and its secrets are; the child gets nothing but keys that
hold for a while. Imports nothing heavy: the child begins with it.
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
"""Seconds between two questions; whoever renews does so ten minutes before the end, or earlier."""


class Renewer:
    """The parent's side: asks now and then, and passes on what is new."""

    def __init__(self, aws: AwsCredentials | None, say: Callable[[bytes], None]) -> None:
        self._renew = aws.renew if aws else None
        self._known = aws
        self._say = say
        self._asked_at = time.monotonic()

    def poll(self) -> None:
        """Ask if it is time to; call this often."""
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
    """Return the line that brings credentials to a child."""
    return WORD + json.dumps(dataclasses.asdict(dataclasses.replace(aws, renew=None))).encode() + b"\n"


class Renewed:
    """The child's side: holds the newest credentials that its parent told."""

    def __init__(self, first: AwsCredentials) -> None:
        self._newest = first

    def take(self, line: bytes) -> None:
        """Take a line that begins with :data:`WORD`."""
        self._newest = AwsCredentials(**json.loads(line[len(WORD) :]))

    def newest(self) -> AwsCredentials:
        """Return what holds now, as far as it was told."""
        return self._newest


def receive(site: Site) -> tuple[Site, Renewed | None]:
    """Return a child's site, and what takes new credentials for it; ``None`` where they do not run out."""
    if site.aws is None or not site.aws.token:
        return site, None
    renewed = Renewed(site.aws)
    return dataclasses.replace(site, aws=dataclasses.replace(site.aws, renew=renewed.newest)), renewed

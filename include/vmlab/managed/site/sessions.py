"""The live sessions, with their idle time-out. A restart of the server ends all of them, as a vCenter's does."""

import re
import secrets
import threading
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vmlab.api import vim


@dataclass(slots=True, kw_only=True)
class Session:
    """One login. `objects` are the ids of the views, filters and collectors that end with it."""

    cookie: str
    user: str
    info: Any
    seen: float
    objects: set[str] = field(default_factory=set)


acting: ContextVar[Session | None] = ContextVar("acting", default=None)
"""The session of the request that this thread serves. Only the property `currentSession` depends on it."""


class Sessions:
    """Live sessions by cookie, with one idle time-out in seconds."""

    def __init__(self, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self._by_cookie: dict[str, Session] = {}
        self._guard = threading.Lock()

    def open(self, user: str, client: str, agent: str) -> Session:
        """Make a session for an authenticated user."""
        now = datetime.now(UTC)
        info = vim.UserSession(
            key=str(uuid.uuid4()),
            userName=user.upper().partition("@")[2] + "\\" + user.partition("@")[0] if "@" in user else user,
            fullName=user,
            loginTime=now,
            lastActiveTime=now,
            locale="en",
            messageLocale="en",
            extensionSession=False,
            ipAddress=client,
            userAgent=agent,
            callCount=0,
        )
        session = Session(cookie=secrets.token_hex(20), user=user, info=info, seen=time.monotonic())
        with self._guard:
            self._by_cookie[session.cookie] = session
        return session

    def find(self, cookie: str) -> Session | None:
        """Return the live session of a cookie. Using a session keeps it alive."""
        with self._guard:
            session = self._by_cookie.get(cookie)
            if session is None:
                return None
            if time.monotonic() - session.seen > self.idle_seconds:
                del self._by_cookie[cookie]
                return None
            session.seen = time.monotonic()
        session.info.lastActiveTime = datetime.now(UTC)
        session.info.callCount += 1
        return session

    def close(self, session: Session) -> None:
        """End a session."""
        with self._guard:
            self._by_cookie.pop(session.cookie, None)

    def close_all(self) -> int:
        """End every session; returns how many there were."""
        with self._guard:
            count = len(self._by_cookie)
            self._by_cookie.clear()
        return count

    def all(self) -> list[Session]:
        """Live sessions, oldest first; idle ones are dropped on the way."""
        limit = time.monotonic() - self.idle_seconds
        with self._guard:
            self._by_cookie = {c: s for c, s in self._by_cookie.items() if s.seen >= limit}
            return list(self._by_cookie.values())


COOKIE = "vmware_soap_session"
"""The HTTP cookie that names a session."""


def cookie_of(headers: dict[str, str]) -> str:
    """Return the session cookie of a request, or the empty string."""
    match = re.search(rf'{COOKIE}="?([\w-]+)', headers.get("cookie", ""))
    return match.group(1) if match else ""

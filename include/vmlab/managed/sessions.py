"""Sessions: login, logout, listing, terminating, idle time-out.

A restart of the server ends all of them, as a vCenter's does.
"""

import secrets
import threading
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vmlab.api import ManagedObject, vim, vmodl
from vmlab.managed.access import invalid_login
from vmlab.managed.registry import Call, computed, method
from vmlab.managed.site import Site

Manager = vim.SessionManager


@dataclass(slots=True, kw_only=True)
class Session:
    """One login. `objects` are the ids of views, filters and collectors that die with it."""

    cookie: str
    user: str
    info: Any
    seen: float
    objects: set[str] = field(default_factory=set)


acting: ContextVar[Session | None] = ContextVar("acting", default=None)
"""The session of the request that this thread serves: the one property that depends on who reads it needs it."""


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
        """The live session of a cookie; using it keeps it alive."""
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


def forget_session(site: Site, session: Session) -> None:
    """End a session and everything that belongs to it."""
    site.sessions.close(session)
    with site.world.transaction():
        for moid in session.objects:
            ref = ManagedObject(moid)
            if site.world.exists(ref):
                site.world.remove(ref)
    site.world.touch()


@method(Manager, "Login")
def login(call: Call, userName: str, password: str, locale: str | None) -> Any:
    """Open a session; the cookie goes out with the answer."""
    user = call.site.access.authenticate(userName, password)
    if user is None or call.session is not None:
        raise invalid_login()
    session = call.site.sessions.open(user, call.client, "")
    call.new_cookie = session.cookie
    if locale:
        session.info.locale = session.info.messageLocale = locale
    return session.info


@method(Manager, "Logout")
def logout(call: Call) -> None:
    """End the caller's session."""
    if call.session is not None:
        forget_session(call.site, call.session)


@method(Manager, "SessionIsActive")
def session_is_active(call: Call, sessionID: str, userName: str) -> bool:
    """Whether a session key is alive for that user."""
    return any(s.info.key == sessionID and s.info.userName == userName for s in call.site.sessions.all())


@method(Manager, "TerminateSession")
def terminate_session(call: Call, sessionId: list[str]) -> None:
    """End other sessions by key; not one's own."""
    assert call.session is not None
    by_key = {session.info.key: session for session in call.site.sessions.all()}
    for key in sessionId:
        if key not in by_key:
            raise vim.fault.NotFound(msg=f"no session {key}")
        if key == call.session.info.key:
            raise vmodl.fault.InvalidArgument(invalidProperty="sessionId", msg="a session cannot terminate itself")
    for key in sessionId:
        forget_session(call.site, by_key[key])


@method(Manager, "AcquireCloneTicket")
def acquire_clone_ticket(call: Call) -> str:
    """A ticket for one more session of the same user."""
    assert call.session is not None
    return call.site.tickets.issue(call.session.user)


@method(Manager, "CloneSession")
def clone_session(call: Call, cloneTicket: str) -> Any:
    """Open a session with a clone ticket."""
    user = call.site.tickets.redeem(cloneTicket)
    if user is None:
        raise invalid_login()
    session = call.site.sessions.open(user, call.client, "")
    call.new_cookie = session.cookie
    return session.info


@computed(Manager, "currentSession")
def current_session(_site: Site, _: Any) -> Any:
    """The session of whoever asks."""
    session = acting.get()
    return session.info if session is not None else None


@computed(Manager, "sessionList")
def session_list(site: Site, _: Any) -> list[Any]:
    """All live sessions."""
    return [session.info for session in site.sessions.all()]


@computed(Manager, "supportedLocale")
def supported_locale(_site: Site, _: Any) -> list[str]:
    """English."""
    return ["en", "en_US"]


@computed(Manager, "messageLocaleList")
def message_locale_list(_site: Site, _: Any) -> list[str]:
    """English."""
    return ["en", "en_US"]


@computed(Manager, "defaultLocale")
def default_locale(_site: Site, _: Any) -> str:
    """English."""
    return "en"


class Tickets:
    """One-time clone tickets."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}

    def issue(self, user: str) -> str:
        """A new ticket for a user."""
        ticket = "cst-VCT-" + secrets.token_hex(16)
        self._users[ticket] = user
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """The user of a ticket, once."""
        return self._users.pop(ticket, None)

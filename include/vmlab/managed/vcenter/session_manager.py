"""The session manager: login, logout, listing and ending sessions, tickets for another session or an HTTP request."""

from typing import Any
from urllib.parse import urlsplit

from vmlab.api import ManagedObject, vim, vmodl
from vmlab.managed.site import Call, ServiceTicket, Session, Site, acting, computed, invalid_login, method

Manager = vim.SessionManager
Spec = Manager.HttpServiceRequestSpec


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
    """Open a session. Its cookie goes out with the answer."""
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
    """Return whether a session key belongs to a live session of that user."""
    return any(s.info.key == sessionID and s.info.userName == userName for s in call.site.sessions.all())


@method(Manager, "TerminateSession")
def terminate_session(call: Call, sessionId: list[str]) -> None:
    """End other sessions by key. A session cannot end itself."""
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
    """Issue a ticket for one more session of the same user."""
    assert call.session is not None
    return call.site.clone_tickets.issue(call.session.user)


@method(Manager, "CloneSession")
def clone_session(call: Call, cloneTicket: str) -> Any:
    """Open a session with a clone ticket."""
    user = call.site.clone_tickets.redeem(cloneTicket)
    if user is None:
        raise invalid_login()
    session = call.site.sessions.open(user, call.client, "")
    call.new_cookie = session.cookie
    return session.info


@computed(Manager, "currentSession")
def current_session(_site: Site, _: Any) -> Any:
    """The session of the caller."""
    session = acting.get()
    return session.info if session is not None else None


@computed(Manager, "sessionList")
def session_list(site: Site, _: Any) -> list[Any]:
    """All live sessions."""
    return [session.info for session in site.sessions.all()]


@computed(Manager, "supportedLocale")
def supported_locale(_site: Site, _: Any) -> list[str]:
    """English only."""
    return ["en", "en_US"]


@computed(Manager, "messageLocaleList")
def message_locale_list(_site: Site, _: Any) -> list[str]:
    """English only."""
    return ["en", "en_US"]


@computed(Manager, "defaultLocale")
def default_locale(_site: Site, _: Any) -> str:
    """English only."""
    return "en"


@method(Manager, "AcquireGenericServiceTicket")
def acquire_generic_service_ticket(call: Call, spec: Any) -> Any:
    """Issue a ticket for one method on one URL."""
    assert call.session is not None
    if not isinstance(spec, Spec):
        raise vmodl.fault.NotSupported(msg="vmlab issues tickets for HTTP requests only.")
    parts = urlsplit(spec.url)
    if parts.scheme != "https" or not parts.hostname:
        raise vmodl.fault.InvalidArgument(invalidProperty="spec.url", msg=f"{spec.url} is no URL of a host.")
    ticket = ServiceTicket(
        user=call.session.user, method=(spec.method or "httpGet").removeprefix("http").upper(), url=spec.url
    )
    thumbprints = {end.port: end.certificate.sha1 for end in call.site.host_ends.values()}
    return Manager.GenericServiceTicket(
        id=call.site.service_tickets.issue(ticket), sslThumbprint=thumbprints.get(parts.port or 443)
    )

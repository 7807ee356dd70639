"""`/api` and `/rest`: the Automation API of a vCenter, as far as sessions and tags go.

The two dialects say the same: `/api`, since 7.0 Update 2, answers with bare JSON, and the older `/rest` wraps an answer
in `value` and a creation in `create_spec`. A session is one of its own, named by the header `vmware-api-session-id`:
neither a SOAP session's cookie nor a user name opens anything but a session.
"""

import base64
import binascii
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from vmlab.api import vim
from vmlab.endpoints.folder_files import planned
from vmlab.managed.site import Session, Site
from vmlab.managed.vcenter import Tagging, TaggingError
from vmlab.managed.world import ROOT_FOLDER
from vmlab.soap import HttpRequest, HttpResponse

log = logging.getLogger(__name__)

HEADER = "vmware-api-session-id"
BODY_LIMIT = 1 << 20
_READ, _CREATE_CATEGORY, _CREATE_TAG, _ATTACH = (
    "System.Read",
    "InventoryService.Tagging.CreateCategory",
    "InventoryService.Tagging.CreateTag",
    "InventoryService.Tagging.AttachTag",
)
_STATUS = {
    "UNAUTHENTICATED": 401,
    "UNAUTHORIZED": 403,
    "NOT_FOUND": 404,
    "INVALID_ARGUMENT": 400,
    "ALREADY_EXISTS": 400,
    "OPERATION_NOT_FOUND": 404,
}
DONE = object()
"""The answer of a call that tells nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The way in which one of the two APIs writes the same calls."""

    session: str
    """Path of the sessions."""
    tagging: str
    """Path below which the tags are."""
    wrapped: bool
    action: str
    """Name of the query's field that names an action."""


DIALECTS = (
    Dialect(session="/api/session", tagging="/api/cis/tagging/", wrapped=False, action="action"),
    Dialect(
        session="/rest/com/vmware/cis/session", tagging="/rest/com/vmware/cis/tagging/", wrapped=True, action="~action"
    ),
)


class AutomationService:
    """Answers calls of the Automation API."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tagging = Tagging(site)

    def handle(self, http: HttpRequest) -> HttpResponse:
        """Answer one call."""
        path, _, query = http.target.partition("?")
        dialect = next((each for each in DIALECTS if path.startswith((each.session, each.tagging))), None)
        if (fault := planned(self._site, f"automation.{http.method}")) is not None:
            return fault
        if dialect is None or (not dialect.wrapped and not self._site.has_new_automation):
            return HttpResponse(status=404, body=b"not found\n", content_type="text/plain")
        try:
            body = json.loads(http.body.read(BODY_LIMIT) or b"{}")
            action = parse_qs(query).get(dialect.action, [""])[0]
            with self._site.world.lock:
                if path == dialect.session:
                    return _answer(dialect, self._session(http), created=http.method == "POST")
                user = self._user(http)
                words = [unquote(word) for word in path.removeprefix(dialect.tagging).split("/")]
                value = self._tagging_call(dialect, user, http.method, words, action, body)
            creates = http.method == "POST" and not action and value is not DONE
            return _answer(dialect, value, created=creates)
        except json.JSONDecodeError:
            return _refusal(dialect, TaggingError("INVALID_ARGUMENT", "the body is not JSON"))
        except TaggingError as error:
            return _refusal(dialect, error)

    def _session(self, http: HttpRequest) -> Any:
        if http.method == "DELETE":
            self._site.automation_sessions.close(self._found(http))
            return DONE
        if http.method != "POST":
            raise TaggingError("OPERATION_NOT_FOUND", http.method)
        scheme, _, value = http.headers.get("authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name, password = "", ""
        user = self._site.access.authenticate(name, password) if scheme.lower() == "basic" else None
        if user is None:
            raise TaggingError("UNAUTHENTICATED", "Unable to authenticate user")
        return self._site.automation_sessions.open(user, http.client, http.headers.get("user-agent", "")).cookie

    def _user(self, http: HttpRequest) -> str:
        return self._found(http).user

    def _found(self, http: HttpRequest) -> Session:
        session = self._site.automation_sessions.find(http.headers.get(HEADER, ""))
        if session is None:
            raise TaggingError("UNAUTHENTICATED", "Authentication required.")
        return session

    def _tagging_call(
        self, dialect: Dialect, user: str, method: str, words: list[str], action: str, body: dict[str, Any]
    ) -> Any:
        tagging = self._tagging
        spec = body.get("create_spec") if dialect.wrapped else body
        match method, words, action:
            case "GET", ["category" | "tag" as what], "":
                rows = tagging.categories() if what == "category" else tagging.tags()
                return list(rows) if self._may(user, _READ) else []
            case "GET", ["category" | "tag" as what, key], "":
                row = (tagging.category if what == "category" else tagging.tag)(_id(dialect, key))
                self._require(user, _READ)
                return row
            case "POST", ["category"], "":
                self._require(user, _CREATE_CATEGORY)
                return tagging.add_category(spec or {})
            case "POST", ["tag"], "":
                self._require(user, _CREATE_TAG)
                return tagging.add_tag(spec or {})
            case "POST", ["tag", *key], "list-tags-for-category":
                category = tagging.category(_id(dialect, key[0]) if dialect.wrapped else str(body.get("category_id")))
                self._require(user, _READ)
                return [tag for tag, row in tagging.tags().items() if row["category_id"] == category["id"]]
            case "POST", ["tag-association", key], "attach" | "detach":
                self._require(user, _ATTACH)
                given = body.get("object_id") or {}
                change: Callable[[str, str, str], None] = tagging.attach if action == "attach" else tagging.detach
                change(_id(dialect, key), str(given.get("type")), str(given.get("id")))
                return DONE
            case "POST", ["tag-association"], "list-attached-tags":
                given = body.get("object_id") or {}
                kind, mo_id = str(given.get("type")), str(given.get("id"))
                if not self._site.access.allowed(user, vim.ManagedEntity(mo_id), _READ):
                    raise TaggingError("UNAUTHORIZED", "Unable to authorize user")
                return tagging.tags_on(kind, mo_id)
            case "POST", ["tag-association"], "list-attached-objects-on-tags":
                self._require(user, _READ)
                return [{"tag_id": tag, "object_ids": self._seen(user, tag)} for tag in body.get("tag_ids") or ()]
        log.warning("%s %s %s is not supported by vmlab", method, "/".join(words), action)
        raise TaggingError("OPERATION_NOT_FOUND", f"vmlab does not support {method} {'/'.join(words)} {action}")

    def _seen(self, user: str, tag: str) -> list[dict[str, str]]:
        return [
            {"id": mo_id, "type": kind}
            for kind, mo_id in self._tagging.objects(tag)
            if self._site.access.allowed(user, vim.ManagedEntity(mo_id), _READ)
        ]

    def _may(self, user: str, privilege: str) -> bool:
        """Return whether a user holds a privilege at the top: tags stand in no folder, and take global permissions."""
        return self._site.access.allowed(user, ROOT_FOLDER, privilege)

    def _require(self, user: str, privilege: str) -> None:
        if not self._may(user, privilege):
            raise TaggingError("UNAUTHORIZED", "Unable to authorize user")


def _id(dialect: Dialect, word: str) -> str:
    """Return the id in a path; the older dialect writes `id:` in front of it."""
    if dialect.wrapped and not word.startswith("id:"):
        raise TaggingError("OPERATION_NOT_FOUND", word)
    return word.removeprefix("id:") if dialect.wrapped else word


def _answer(dialect: Dialect, value: Any, *, created: bool) -> HttpResponse:
    if value is DONE:
        return HttpResponse(status=200 if dialect.wrapped else 204, body=b"", content_type="application/json")
    body = {"value": value} if dialect.wrapped else value
    status = 201 if created and not dialect.wrapped else 200
    return HttpResponse(status=status, body=json.dumps(body).encode(), content_type="application/json")


def _refusal(dialect: Dialect, error: TaggingError) -> HttpResponse:
    messages = [{"id": "vmlab", "default_message": str(error), "args": []}]
    body: dict[str, Any] = {"error_type": error.kind, "messages": messages}
    if dialect.wrapped:
        name = f"com.vmware.vapi.std.errors.{error.kind.lower()}"
        body = {"type": name, "value": {"messages": messages}}
    return HttpResponse(status=_STATUS[error.kind], body=json.dumps(body).encode(), content_type="application/json")

"""Makes the answer to an error: a page within the frame of all pages, or a problem document for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import anyio.to_thread
from airflow.api_fastapi.core_api.security import resolve_user_from_token
from fastapi import HTTPException, Request, status
from fastapi.responses import HTMLResponse, Response

from vmkeep.web import render
from vmkeep_airflow.web.access import token_of, url_in
from vmkeep_airflow.web.frame import frame_of, problem
from vmkeep_airflow.web.paths import own_path

_HEADINGS: Final = {
    status.HTTP_403_FORBIDDEN: "You may not see this",
    status.HTTP_404_NOT_FOUND: "There is nothing here",
    status.HTTP_422_UNPROCESSABLE_CONTENT: "The address has a mistake",
    status.HTTP_503_SERVICE_UNAVAILABLE: "Something that this page needs gives no answer",
}
_HEADINGS_OF_FORMS: Final = {
    status.HTTP_403_FORBIDDEN: "You may not do this",
    status.HTTP_422_UNPROCESSABLE_CONTENT: "The form cannot be taken",
}
_COOKIE: Final = "_token"
_Context = Mapping[str, Any]
_WORDS: Final[dict[str, Callable[[_Context], str]]] = {
    "missing": lambda _: "is missing",
    "int_parsing": lambda _: "is no whole number",
    "bool_parsing": lambda _: "is neither true nor false",
    "greater_than_equal": lambda found: f"must be at least {found['ge']:,}",
    "less_than_equal": lambda found: f"must be at most {found['le']:,}",
    "string_too_long": lambda found: f"is longer than {found['max_length']:,} characters",
    "enum": lambda found: f"must be one of {found['expected']}",
    "literal_error": lambda found: f"must be one of {found['expected']}",
}
"""Words for mistakes in an address, by the name that pydantic gives them."""


def in_words(faults: Iterable[Mapping[str, Any]]) -> str:
    """Return the mistakes that FastAPI has found in an address or a body as sentences."""
    return " ".join(f"{'.'.join(map(str, each['loc'][1:])) or 'The body'} {_fault(each)}." for each in faults)


def _fault(each: Mapping[str, Any]) -> str:
    kind = str(each["type"])
    if kind.startswith("datetime_"):
        return "is no time: write e.g. 2026-11-28T21:00:00Z"
    if kind.startswith("date_"):
        return "is no date: write e.g. 2026-11-28"
    words = _WORDS.get(kind)
    return words(each.get("ctx") or {}) if words else f"cannot be taken: {each['msg']}"


async def answer_error(request: Request, code: int, message: str) -> Response:
    """Return an error as a page that keeps the navigation and the user, or as data to whoever asks for data."""
    if is_data(request):
        return problem(code, message)
    is_sent = request.method == "POST"
    heading = (_HEADINGS_OF_FORMS if is_sent else {}).get(code) or _HEADINGS.get(code, "This did not work")
    tone = "calm" if code == status.HTTP_404_NOT_FOUND else "bad"
    frame = await anyio.to_thread.run_sync(partial(frame_of, await _user_of(request)))
    is_choice = code == status.HTTP_422_UNPROCESSABLE_CONTENT and bool(request.url.query) and not is_sent
    bare = f"{own_path()}{quote(_path_of(request))}" if is_choice else ""
    back = _page_before(request) if is_sent else ""
    return HTMLResponse(render("error.html", frame, heading=heading, message=message, tone=tone, back=back, bare=bare),
                        code)  # fmt: skip


async def _user_of(request: Request) -> Any:
    """Return the user who calls; ``None``: nobody is logged in."""
    try:
        return await resolve_user_from_token(token_of(request.headers) or request.cookies.get(_COOKIE))
    except HTTPException:
        return None


def _page_before(request: Request) -> str:
    """Return the page of ours that a form was sent from; empty: the browser does not tell, or it is another one."""
    before = url_in(request.headers, "referer")
    if before.netloc != request.headers.get("host") or not before.path.startswith(f"{own_path()}/"):
        return ""
    return f"{before.path}?{before.query}" if before.query else before.path


def is_data(request: Request) -> bool:
    """Return whether a call asks for data, and no page."""
    path = _path_of(request)
    return path.startswith("/api/") or path == "/openapi.json"


def _path_of(request: Request) -> str:
    return str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))

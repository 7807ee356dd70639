"""The parts that the routes of all pages share: their routers, the frame round a page, and a page as data."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from airflow.api_fastapi.app import get_auth_manager
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel

from vmkeep.model.job import to_json
from vmkeep.web import Frame, render
from vmkeep_airflow.web.access import may_audit, may_operate, viewer
from vmkeep_airflow.web.paths import outer_path, own_path

LONGEST: Final = 300
"""Characters of a name or a key in an address."""

_PROBLEM: Final = "application/problem+json"


class Problem(BaseModel):
    """An error as data (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    """The fault, its place, and the thing to do."""


_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    503: {"description": "No catalog, or nothing else that the answer needs, can be read",
          "content": {_PROBLEM: {"schema": Problem.model_json_schema()}}},
}  # fmt: skip


def page_router() -> APIRouter:
    """Return a router for pages. Each route says itself who may call it."""
    return APIRouter(include_in_schema=False)


def answer_router() -> APIRouter:
    """Return a router for JSON twins: the view models of pages, as data. ``/vmkeep/openapi.json`` describes them."""
    return APIRouter(prefix="/api", tags=["vmkeep"], dependencies=[Depends(viewer)], responses=_PROBLEMS)


def frame_of(user: Any) -> Frame:
    """Return the facts about a call that every page needs.

    :param user: ``None``: nobody is logged in.
    """
    return Frame(
        root=own_path(),
        airflow=outer_path(),
        user=str(user.get_name()) if user is not None else "",
        may_operate=user is not None and may_operate(user),
        may_audit=user is not None and may_audit(user),
    )


def html(template: str, user: Any, **values: Any) -> HTMLResponse:
    """Return a template, filled, as an answer."""
    return HTMLResponse(render(template, frame_of(user), **values))


def data(value: Any) -> Response:
    """Return a view model as an answer of JSON."""
    return Response(to_json(value), media_type="application/json")


def problem(code: int, detail: str) -> Response:
    """Return an error as a problem document (RFC 9457)."""
    told = Problem(type="about:blank", title=HTTPStatus(code).phrase, status=code, detail=detail)
    return JSONResponse(told.model_dump(), code, media_type=_PROBLEM)


def login_url(request: Request) -> str:
    """Return the address at which somebody logs in, and comes back from to the page that was asked for."""
    query = f"?{request.url.query}" if request.url.query else ""
    inner = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return get_auth_manager().get_url_login(next_url=f"{own_path()}/{inner.lstrip('/')}{query}")

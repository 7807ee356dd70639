"""Makes the app: its routes, the headers of every answer, and what an error is answered by."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote_plus

from fastapi import Depends, FastAPI, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException as AnyHttpException

from vmkeep.errors import (
    CatalogError,
    NotFoundError,
    UnreachableError,
    UnsupportedError,
    VmKeepError,
)
from vmkeep_airflow.web.access import is_foreign, viewer
from vmkeep_airflow.web.errorpages import answer_error, in_words, is_data
from vmkeep_airflow.web.frame import login_url, problem
from vmkeep_airflow.web.routes import ROUTERS

log = logging.getLogger(__name__)

_HEADERS: Final = {
    # Everything comes from this server, and Airflow alone may show a page in a frame.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_OF_THE_CALL: Final = {
    NotFoundError: status.HTTP_404_NOT_FOUND,
    UnsupportedError: status.HTTP_409_CONFLICT,
}
"""Errors about what was asked for. All others are noted in the log."""


def make_app() -> FastAPI:
    """Return the app. FastAPI's own pages of the description are left out, because they load scripts from elsewhere."""
    app = FastAPI(title="vmkeep", docs_url=None, redoc_url=None, openapi_url=None)
    for router in ROUTERS:
        app.include_router(router)
    app.middleware("http")(_guarded)
    app.exception_handler(AnyHttpException)(_refused)
    app.exception_handler(RequestValidationError)(_mistaken)
    app.exception_handler(VmKeepError)(_failed)

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(viewer)])
    def describe() -> dict[str, Any]:
        """Return the description of the JSON twins."""
        return app.openapi()

    return app


async def _guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what a page of another server may have sent, and add the headers."""
    if is_foreign(request.method, request.headers):
        message = "This call came from a page of another server, or from an old browser that does not tell."
        response: Response = problem(status.HTTP_403_FORBIDDEN, message)
    elif "\0" in unquote_plus(f"{request.scope['path']}?{request.url.query}"):
        message = "The address has a zero byte, which is in no name."
        response = await answer_error(request, status.HTTP_422_UNPROCESSABLE_CONTENT, message)
    else:
        response = await call(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")  # names and rights must not outlive a log-out
    return response


async def _refused(request: Request, error: Any) -> Response:
    if error.status_code == status.HTTP_401_UNAUTHORIZED and not is_data(request):
        return RedirectResponse(login_url(request), status.HTTP_303_SEE_OTHER)
    return await answer_error(request, error.status_code, str(error.detail))


async def _mistaken(request: Request, error: Any) -> Response:
    return await answer_error(request, status.HTTP_422_UNPROCESSABLE_CONTENT, in_words(error.errors()))


async def _failed(request: Request, error: Any) -> Response:
    for kind, code in _OF_THE_CALL.items():
        if isinstance(error, kind):
            return await answer_error(request, code, str(error))
    log.error("%s: %s", request.scope["path"], error)
    silent = isinstance(error, (CatalogError, UnreachableError))
    code = status.HTTP_503_SERVICE_UNAVAILABLE if silent else status.HTTP_500_INTERNAL_SERVER_ERROR
    return await answer_error(request, code, str(error))

"""The entries by which Airflow's plugin manager finds the web view.

Every component of Airflow loads plugins. Only the API server is ever called, so only it imports FastAPI and the pages.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, Final

from vmkeep_airflow.web.guard import OverwriteGuard
from vmkeep_airflow.web.paths import OUTER, PREFIX, own_path


class WebView:
    """An ASGI app that makes the real one when it is first called."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a call. The app that this one is mounted in is kept for :mod:`vmkeep_airflow.web.ownapi`."""
        scope = {**scope, OUTER: scope.get("app")}
        await self._made()(scope, receive, send)

    def _made(self) -> Any:
        with self._lock:
            if self._app is None:
                from vmkeep_airflow.web.app import make_app

                self._app = make_app()
        return self._app


class FrontDoor:
    """An ASGI middleware that leads from the prefix without a slash, as people type it, to the first page.

    No app is mounted at that path, so that Airflow would answer with its own page for an address that it does not know.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Lead to the first page, or pass the call on."""
        if scope["type"] != "http" or scope["path"] not in (PREFIX, own_path()):
            await self._app(scope, receive, send)
            return
        from fastapi.responses import RedirectResponse

        await RedirectResponse(own_path("fleet"))(scope, receive, send)


FASTAPI_APPS: Final[list[Any]] = [{"app": WebView(), "url_prefix": PREFIX, "name": "vmkeep"}]
EXTERNAL_VIEWS: Final[list[Any]] = [
    {
        "name": "vmkeep",
        "href": own_path("fleet"),
        "destination": "nav",
        "url_route": "vmkeep",
        "icon": own_path("static", "icon.svg"),
        "icon_dark_mode": own_path("static", "icon-dark.svg"),
    }
]
ROOT_MIDDLEWARES: Final[list[Any]] = [
    {"name": "vmkeep-overwrite-guard", "middleware": OverwriteGuard},
    {"name": "vmkeep-front-door", "middleware": FrontDoor},
]

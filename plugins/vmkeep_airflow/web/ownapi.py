"""Asks Airflow's own API, in this process, with the token of the user who calls.

So rights, the audit log, the check of params and the name of who triggered a run are Airflow's, as if the user had
called it. The API has no address that this process would have to know, because a call goes to the app in which the web
view is mounted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

import anyio
import anyio.from_thread
import httpx
from fastapi import Depends, Request, status

from vmkeep.errors import UnreachableError
from vmkeep_airflow.web.paths import OUTER

_SECONDS: Final = 30.0
"""Seconds that one answer may take."""
_COOKIE: Final = "_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the API."""

    code: int
    data: Any

    @property
    def is_good(self) -> bool:
        """Return whether the call did what was asked."""
        return self.code < status.HTTP_400_BAD_REQUEST

    @property
    def why(self) -> str:
        """Return the reason of a refusal in words."""
        detail = self.data.get("detail", self.data) if isinstance(self.data, dict) else self.data
        return str(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnApi:
    """Airflow's API for one user. Its methods are for the threads in which FastAPI runs a route that is not async."""

    app: Any
    token: str

    def get(self, *segments: str, **params: str) -> Answer:
        """Ask for something.

        :param segments: of the path below ``/api/v2``; each is quoted whole.
        :raises UnreachableError: no answer came in time.
        """
        return anyio.from_thread.run(self._call, "GET", segments, params, None)

    def post(self, *segments: str, body: dict[str, Any]) -> Answer:
        """Ask for a change.

        :raises UnreachableError: no answer came in time. Whether the change was made is not known.
        """
        return anyio.from_thread.run(self._call, "POST", segments, {}, body)

    def patch(self, *segments: str, body: dict[str, Any], **params: str) -> Answer:
        """Ask for a change of something that is there.

        :raises UnreachableError: no answer came in time. Whether the change was made is not known.
        """
        return anyio.from_thread.run(self._call, "PATCH", segments, params, body)

    async def _call(
        self, method: str, segments: tuple[str, ...], params: dict[str, str], body: dict[str, Any] | None
    ) -> Answer:
        path = "/".join(("/api/v2", *(quote(segment, safe="") for segment in segments)))
        transport = httpx.ASGITransport(app=self.app)
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            with anyio.fail_after(_SECONDS):
                async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as own:
                    got = await own.request(method, path, params=params, json=body)
        except TimeoutError as error:
            raise UnreachableError(f"Airflow's API gave no answer to {method} {path} in {_SECONDS:.0f} s") from error
        try:
            return Answer(code=got.status_code, data=got.json())
        except ValueError:
            return Answer(code=got.status_code, data=got.text[:500])


def own_api(request: Request) -> OwnApi:
    """Return Airflow's API for the user who calls."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    known_by_header = kind.lower() == "bearer" and token
    return OwnApi(app=request.scope[OUTER], token=token if known_by_header else request.cookies.get(_COOKIE, ""))


OwnApiDep = Annotated[OwnApi, Depends(own_api)]

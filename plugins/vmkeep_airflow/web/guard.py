"""Keeps those from overwriting through Airflow's own API and forms who may not administer the repository.

Airflow's rights end at the DAG: whoever may start ``vm_restore`` may start it with any params. But each start, answer
and clearing by a person is a call of the API server, which knows the user. So the plugin puts itself before the API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmkeep.model.wording import agreeing
from vmkeep_airflow.web.overwriting import Call, call_of, rights_needed

LARGEST: Final = 4 << 20
"""Bytes of a body that is read. Airflow's own bodies for one call have some kibibytes."""


class OverwriteGuard:
    """An ASGI middleware that refuses calls which may lose what a VM holds now, unless the user may overwrite.

    It refuses also what it cannot judge: a body that is too large, a user who is not known, a run that is not found.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a call on, or refuse it."""
        call = call_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if call is None:
            await self._app(scope, receive, send)
            return
        from fastapi import HTTPException
        from fastapi.responses import JSONResponse

        try:
            body = await _body_of(receive)
            await _require(scope, Call(method=call.method, parts=call.parts, body=_parsed(body)))
        except HTTPException as refusal:
            await JSONResponse({"detail": refusal.detail}, refusal.status_code)(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


async def _body_of(receive: Any) -> bytes:
    from fastapi import HTTPException, status

    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPException(status.HTTP_400_BAD_REQUEST, "the call ended before its body")
        parts.append(message.get("body", b""))
        if sum(map(len, parts)) > LARGEST:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, f"the body is larger than {LARGEST} bytes")
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    """Return a way to receive a body that was read already."""
    told = False

    async def received() -> Any:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return received


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


async def _require(scope: Any, call: Call) -> None:
    """Return if the user who calls may do it.

    :raises HTTPException: 401: nobody is logged in; 403: the user may not; else: Airflow does not tell of the run.
    """
    import anyio.to_thread
    from airflow.api_fastapi.core_api.security import resolve_user_from_token

    token = _token_of(scope)
    user = await resolve_user_from_token(token)
    await anyio.to_thread.run_sync(_require_right, scope.get("app"), token, user, call)


def _require_right(app: Any, token: str, user: Any, call: Call) -> None:
    from fastapi import HTTPException, status

    from vmkeep.web import REFUSED
    from vmkeep_airflow.web.access import may_administer
    from vmkeep_airflow.web.auditlog import note
    from vmkeep_airflow.web.ownapi import OwnApi

    def conf_of(dag_id: str, run_id: str) -> Mapping[str, Any]:
        answer = OwnApi(app=app, token=token).get("dags", dag_id, "dagRuns", run_id)
        if not answer.is_good:
            raise HTTPException(answer.code, answer.why)
        return answer.data.get("conf") or {}

    refused = [each for each in rights_needed(call, conf_of) if not may_administer(user, each)]
    if refused:
        # Airflow notes calls only once they have come through to it.
        note(user, REFUSED, dag_id=call.dag_id, run_id=call.run_id, method=call.method, path="/".join(call.parts))
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            f"Only who may edit {_words(refused)} in Airflow may write over a VM or say which points stay, "
            "and answer, clear or change such runs. Restore to a new VM, or choose 'prompt' as 'If the target "
            "exists': then somebody with that right is asked. Leave 'Keep' empty to go by the connection.",
        )


def _words(connections: Sequence[str | None]) -> str:
    """Return the words for the connections whose editing a call needs."""
    if None in connections:
        return "every connection (the call does not name the runs that it changes)"
    named = sorted(str(each) for each in connections)
    return f"{agreeing(len(named), 'the connection', 'the connections')} {', '.join(named)}"


def _token_of(scope: Any) -> str:
    """Return the token by which Airflow knows the user: that of the header before that of the cookie."""
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from fastapi import Request

    from vmkeep_airflow.web.access import token_of

    request = Request(scope)
    return token_of(request.headers) or request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")

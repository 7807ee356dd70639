"""Makes one plain HTTP exchange on a checked connection, and bounds the size of its answer."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from vmkeep.errors import TransientError, UnreachableError
from vmkeep.vsphere.connection import PinnedConnection


def exchange(
    connection: PinnedConnection, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, limit: int
) -> tuple[int, bytes]:
    """Send one request and read its whole answer.

    :returns: status and body.
    :raises TransientError: the connection failed, or the body is longer than ``limit`` bytes, or was cut off.
    :raises UnreachableError: no answer came in time.
    """
    what = f"{connection.host}:{connection.port}: {method} {path.partition('?')[0]}"
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        data = response.read(limit + 1)
    except TimeoutError:
        raise UnreachableError(f"{what}: no answer in time") from None
    except (http.client.HTTPException, OSError) as error:
        raise TransientError(f"{what}: the connection failed ({str(error) or type(error).__name__})") from None
    if len(data) > limit:
        raise TransientError(f"{what}: the answer is longer than {limit} bytes")
    if response.length and method != "HEAD":
        # http.client itself notices a body that is cut off only if it is asked for the whole body.
        raise TransientError(f"{what}: the answer was cut off {response.length} bytes before its end")
    return response.status, data

"""Clients of Amazon's own library, for calls that obstore does not have: versions and locks of objects, and keys.

A client is made when it is first used, because the library takes a third of a second to load.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from vmkeep.model.aws import AwsCredentials

_CONNECT = 10
_SILENCE = 60
_AT_ONCE = 32
_making = threading.Lock()
"""Held while a client is made, because one session must not make two clients at the same time."""


class AwsClient:
    """The client of one service. It is made anew whenever its credentials were renewed. Thread-safe."""

    def __init__(self, service: str, found: AwsCredentials, *, endpoint: str = "", region: str) -> None:
        """:param found: complete credentials, as :func:`~vmkeep.blobs.aws.chain.resolve` returns them."""
        self._service = service
        self._found = found
        self._endpoint = endpoint
        self._region = region
        self._made: tuple[AwsCredentials, Any] | None = None

    def get(self) -> Any:
        """Return the client, with current credentials."""
        keys = self._found.renew() if self._found.renew else self._found
        with _making:
            if self._made is None or self._made[0] != keys:
                self._made = (keys, self._make(keys))
            return self._made[1]

    def _make(self, keys: AwsCredentials) -> Any:
        from botocore.config import Config

        settings = Config(
            connect_timeout=_CONNECT,
            read_timeout=_SILENCE,
            max_pool_connections=_AT_ONCE,
            retries={"mode": "standard", "total_max_attempts": 4},
            s3={"addressing_style": "path" if self._endpoint else "auto"},
        )
        return _session().create_client(
            self._service,
            region_name=self._region,
            endpoint_url=self._endpoint or None,
            verify=keys.ca_file or None,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=keys.token or None,
            config=settings,
        )


@cache
def _session() -> Any:
    """Return this process's only session. It reads the descriptions of the services, which is slow."""
    from botocore.session import Session

    return Session()


def refusal(error: Exception) -> tuple[str, int]:
    """Return an error's code and HTTP status; they are empty and 0 if no answer came."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return "", 0
    return str(error.response["Error"].get("Code", "")), int(error.response["ResponseMetadata"]["HTTPStatusCode"])

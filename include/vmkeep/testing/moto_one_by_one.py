"""Runs Moto with at most one conditional put at a time.

Moto looks whether an object exists, and stores it in a second step. Two conditional puts at once could both succeed.
"""

from __future__ import annotations

import sys
import threading
from typing import Any
from unittest.mock import patch

from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication


class OneByOne(DomainDispatcherApplication):
    """Moto's application with one conditional put at a time. It answers other requests in many threads at once."""

    creating = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request. Answer a request that creates an absent object only while no other such request runs."""
        if "HTTP_IF_NONE_MATCH" not in environ:
            return super().__call__(environ, start_response)
        with self.creating:
            return list(super().__call__(environ, start_response))


if __name__ == "__main__":
    with patch.object(server, "DomainDispatcherApplication", OneByOne):
        server.main(sys.argv[1:])

"""Moto, with one creator at a time: it looks whether an object is there, and stores it in a second step."""

from __future__ import annotations

import sys
import threading
from typing import Any
from unittest.mock import patch

from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication


class OneByOne(DomainDispatcherApplication):
    """Moto's application, which answers requests in many threads at once."""

    creating = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, and one that creates what is absent only when no other one does."""
        if "HTTP_IF_NONE_MATCH" not in environ:
            return super().__call__(environ, start_response)
        with self.creating:
            return list(super().__call__(environ, start_response))


if __name__ == "__main__":
    with patch.object(server, "DomainDispatcherApplication", OneByOne):
        server.main(sys.argv[1:])

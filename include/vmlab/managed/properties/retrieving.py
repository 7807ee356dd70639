"""The property collector's one-shot methods: RetrieveProperties and RetrievePropertiesEx with paging."""

import itertools
import threading
from typing import Any

from vmlab.api import vmodl
from vmlab.managed.properties.selection import retrieve
from vmlab.managed.site import Call, method

PC = vmodl.query.PropertyCollector

DEFAULT_PAGE = 1000
"""The objects in one answer, if the client names no limit."""

_tokens = itertools.count(1)
_pages: dict[tuple[str, str], tuple[list[Any], int]] = {}
_guard = threading.Lock()
_KEPT_PAGES = 1000


@method(PC, "RetrieveProperties")
def retrieve_properties(call: Call, specSet: list[Any]) -> list[Any]:
    """Return everything at once."""
    return retrieve(call.site, specSet, call.sees())


@method(PC, "RetrievePropertiesEx")
def retrieve_properties_ex(call: Call, specSet: list[Any], options: Any) -> Any:
    """Return the first page, with a token for the rest."""
    objects = retrieve(call.site, specSet, call.sees())
    size = (options.maxObjects if options is not None else None) or DEFAULT_PAGE
    if size < 0:
        raise vmodl.fault.InvalidArgument(invalidProperty="options.maxObjects", msg="maxObjects must be positive")
    return _page(call, objects, size) if objects else None


@method(PC, "ContinueRetrievePropertiesEx")
def continue_retrieve(call: Call, token: str) -> Any:
    """Return the next page. A token works once."""
    with _guard:
        rest = _pages.pop((call.cookie, token), None)
    if rest is None:
        raise vmodl.fault.InvalidArgument(invalidProperty="token", msg=f"no retrieval goes on under token {token}")
    return _page(call, *rest)


@method(PC, "CancelRetrievePropertiesEx")
def cancel_retrieve(call: Call, token: str) -> None:
    """Forget the remaining pages."""
    with _guard:
        known = _pages.pop((call.cookie, token), None)
    if known is None:
        raise vmodl.fault.InvalidArgument(invalidProperty="token", msg=f"no retrieval goes on under token {token}")


def _page(call: Call, objects: list[Any], size: int) -> Any:
    answer = PC.RetrieveResult(objects=objects[:size])
    if objects[size:]:
        answer.token = str(next(_tokens))
        with _guard:
            _pages[call.cookie, answer.token] = (objects[size:], size)
            while len(_pages) > _KEPT_PAGES:
                del _pages[next(iter(_pages))]
    return answer

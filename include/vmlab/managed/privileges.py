"""Every privilege the API's tables know, gathered from the methods the lab supports."""

from functools import lru_cache

from vmlab.managed.registry import registered_methods
from vmlab.soap.types import support


@lru_cache(maxsize=1)
def table_privileges() -> frozenset[str]:
    """Names such as `VirtualMachine.State.CreateSnapshot`."""
    found: set[str] = set()
    for name in registered_methods():
        info = support.GetWsdlMethod("urn:vim25", name).info
        found.update(filter(None, [info.privId, *(getattr(param, "privId", None) for param in info.params)]))
    return frozenset(found)

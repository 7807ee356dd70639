"""The table of behaviours: which function answers which method of which type, and computes which property.

Families of managed objects register here at import; the dispatcher and the property reader look up here. A method
that is in nobody's file is not supported, and says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmlab.api import vmodl
from vmlab.managed.site.access import Sight
from vmlab.managed.site.sessions import Session
from vmlab.managed.site.site import Site
from vmlab.managed.world import World


@dataclass(slots=True, kw_only=True)
class Call:
    """One method call on its way: the site, who calls, on which object, which method."""

    site: Site
    session: Session | None
    this: Any
    method: str
    cookie: str = ""
    """The session cookie the request carried."""
    new_cookie: str = ""
    """A cookie to hand out with the answer, set by Login."""
    client: str = ""

    @property
    def world(self) -> World:
        """The site's objects."""
        return self.site.world

    def sees(self) -> Sight:
        """What the caller may see."""
        return self.site.access.sight(self.session.user if self.session else "")


Handler = Callable[..., Any]
Compute = Callable[[Site, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a method is run: at once under the world's lock, at once without it (slow reads), or as a task."""

    run: Handler
    task: bool = False
    locked: bool = True
    check: Handler | None = None
    """Privileges that depend on the arguments: called with the same ones before anything else happens."""


_METHODS: dict[tuple[Any, str], Behaviour] = {}
_COMPUTED: dict[tuple[Any, str], Compute] = {}
_REFUSALS: dict[Any, Handler] = {}


def method(kind: Any, name: str, *, locked: bool = True, check: Handler | None = None) -> Callable[[Handler], Handler]:
    """Register the function that answers `name` of `kind`: called with the Call, then the parameters by WSDL name."""

    def register(function: Handler) -> Handler:
        _METHODS[kind, name] = Behaviour(run=function, locked=locked, check=check)
        return function

    return register


def task_method(kind: Any, name: str, *, check: Handler | None = None) -> Callable[[Handler], Handler]:
    """Register a function that runs in a task of its own, alone on its entity, outside the world's lock."""

    def register(function: Handler) -> Handler:
        _METHODS[kind, name] = Behaviour(run=function, task=True, locked=False, check=check)
        return function

    return register


def refusal(kind: Any) -> Callable[[Handler], Handler]:
    """Register the function that refuses all methods of a type that nobody answers, by a fault of that type's own."""

    def register(function: Handler) -> Handler:
        _REFUSALS[kind] = function
        return function

    return register


def computed(kind: Any, name: str) -> Callable[[Compute], Compute]:
    """Register the function that works a property out from stored ones; called under the world's lock."""

    def register(function: Compute) -> Compute:
        _COMPUTED[kind, name] = function
        return function

    return register


def find_method(ref: Any, name: str) -> Behaviour | None:
    """The behaviour of a method on an object, the most derived type's first."""
    for kind in type(ref).__mro__:
        if behaviour := _METHODS.get((kind, name)):
            return behaviour
    return None


def refuse(call: Call, args: dict[str, Any]) -> Any:
    """The fault for a method that nobody answers: its type's own, or NotSupported."""
    own = _REFUSALS.get(type(call.this))
    fault = own(call, **args) if own else None
    return fault or vmodl.fault.NotSupported(msg=f"vmlab does not support {type(call.this).__name__}.{call.method}")


def find_computed(kind: Any, name: str) -> Compute | None:
    """The function that computes a property of a type, the most derived type's first."""
    for base in kind.__mro__:
        if compute := _COMPUTED.get((base, name)):
            return compute
    return None


def unchecked_methods() -> set[str]:
    """WSDL names of the methods that are run without a check of their own."""
    return {name for (_, name), behaviour in _METHODS.items() if behaviour.check is None}

"""The table of behaviours: the function for each method and each computed property of a type.

Modules register their functions here when they are imported. The dispatcher and the property reader look them up.
A method without a function is refused as not supported.
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
    """One method call: the site, the caller's session, the receiver and the method."""

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
        """Return the sight of the caller."""
        return self.site.access.sight(self.session.user if self.session else "")


Handler = Callable[..., Any]
Compute = Callable[[Site, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A method's function, and how it is run: at once under the world's lock, at once without it, or as a task."""

    run: Handler
    task: bool = False
    locked: bool = True
    check: Handler | None = None
    """Checks the privileges that depend on the arguments. Called with the same arguments before the method is run."""


_METHODS: dict[tuple[Any, str], Behaviour] = {}
_COMPUTED: dict[tuple[Any, str], Compute] = {}
_REFUSALS: dict[Any, Handler] = {}


def method(kind: Any, name: str, *, locked: bool = True, check: Handler | None = None) -> Callable[[Handler], Handler]:
    """Register the function that answers `name` of `kind`. It gets the Call, then the parameters by WSDL name."""

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
    """Register the function that makes the fault for those methods of a type that have no function."""

    def register(function: Handler) -> Handler:
        _REFUSALS[kind] = function
        return function

    return register


def computed(kind: Any, name: str) -> Callable[[Compute], Compute]:
    """Register the function that computes a property from stored ones. It is called under the world's lock."""

    def register(function: Compute) -> Compute:
        _COMPUTED[kind, name] = function
        return function

    return register


def find_method(ref: Any, name: str) -> Behaviour | None:
    """Return the behaviour of a method on an object. A derived type goes before its base."""
    for kind in type(ref).__mro__:
        if behaviour := _METHODS.get((kind, name)):
            return behaviour
    return None


def refuse(call: Call, args: dict[str, Any]) -> Any:
    """Return the fault for a method without a function: that of its type, or NotSupported."""
    own = _REFUSALS.get(type(call.this))
    fault = own(call, **args) if own else None
    return fault or vmodl.fault.NotSupported(msg=f"vmlab does not support {type(call.this).__name__}.{call.method}")


def find_computed(kind: Any, name: str) -> Compute | None:
    """Return the function that computes a property of a type. A derived type goes before its base."""
    for base in kind.__mro__:
        if compute := _COMPUTED.get((base, name)):
            return compute
    return None


def unchecked_methods() -> set[str]:
    """Return the WSDL names of the methods that have no check of their own."""
    return {name for (_, name), behaviour in _METHODS.items() if behaviour.check is None}

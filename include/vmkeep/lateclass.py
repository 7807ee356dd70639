"""Data classes whose methods are compiled when somebody calls them, because compiling takes nine tenths of their time.

The standard library writes the source of six methods for a frozen class, and compiles each. A command loads a hundred
classes or more, makes instances of a third of them, and compares or prints hardly any.

:func:`dataclass` makes the fields at once. Each method is a stub that lets the standard library make the real one from
the same fields at the first call, and hands over to it. So the methods are always those of the standard library.
Type checkers see the decorator of the standard library. :func:`compile_methods` does at once what would come later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, kw_only=False):
        """Make a data class, as the standard library's decorator of this name does."""

        def make(plain):
            return _make(plain, frozen=frozen, slots=slots, kw_only=kw_only)

        return make if cls is None else make(cls)


__all__ = ["compile_methods", "dataclass"]

_LATER: set[Callable[[], None]] = set()
"""One function for each group of stubs that nobody has called yet: it replaces them."""


def compile_methods() -> None:
    """Compile all methods of the classes made so far, because processes forked from this one would each do it anew."""
    for compile_all in tuple(_LATER):
        compile_all()


@dataclasses.dataclass(frozen=True, slots=True)
class _Pickled:
    """A class whose two methods for pickling suit every frozen class with slots."""


def _make(plain: type, *, frozen: bool, slots: bool, kw_only: bool) -> type:
    own = plain.__dict__
    made: type = dataclasses.dataclass(plain, init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
    _stub(made, ("__init__", "__setattr__", "__delattr__") if frozen else ("__init__",), init=True, frozen=frozen)
    if "__repr__" not in own:
        _stub(made, ("__repr__",), repr=True)
    if "__eq__" not in own:
        _stub(made, ("__eq__",), eq=True)
    if own.get("__hash__") is None:  # Python sets None in a class that has __eq__ of its own
        if frozen:
            _stub(made, ("__hash__",), eq=True, frozen=True)
        else:
            made.__hash__ = None  # type: ignore[assignment] # no hash for what compares by values that may change
    if frozen and slots:
        for name in ("__getstate__", "__setstate__"):
            if name not in own:
                setattr(made, name, _Pickled.__dict__[name])
    return made


def _stub(made: type, names: tuple[str, ...], **wanted: Any) -> None:
    """Give a class stubs of some methods, which the standard library makes together if it is asked for ``wanted``."""

    def compile_all() -> None:
        twin = dataclasses.make_dataclass(
            made.__name__,
            [(field.name, field.type, field) for field in dataclasses.fields(made)],
            namespace={"__doc__": "A twin.", **({"__post_init__": None} if hasattr(made, "__post_init__") else {})},
            **({"init": False, "repr": False, "eq": False} | wanted),
        )
        for name in names:
            setattr(made, name, twin.__dict__[name])
        _LATER.discard(compile_all)

    _LATER.add(compile_all)
    for name in names:
        setattr(made, name, _first_call(made, name, compile_all))


def _first_call(made: type, name: str, compile_all: Callable[[], None]) -> Callable[..., Any]:
    def stub(self: object, *args: Any, **named: Any) -> Any:
        compile_all()
        return made.__dict__[name](self, *args, **named)

    return stub

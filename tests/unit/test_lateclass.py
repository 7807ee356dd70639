"""Data classes that compile their methods late behave as those of the standard library, before and after it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from threading import Barrier, Thread
from typing import Any, ClassVar

import pytest

from vmkeep import lateclass

OPTIONS = [dict(zip(("frozen", "slots", "kw_only"), told, strict=True)) for told in product((False, True), repeat=3)]


def make(decorator: Callable[..., Any], **options: bool) -> Any:
    @decorator(**options)
    class Value:
        """A value with every kind of field."""

        limit: ClassVar[int] = 5
        first: int
        second: str = "two"
        third: list[int] = dataclasses.field(default_factory=list, compare=False)
        fourth: int = dataclasses.field(default=4, repr=False)

        def __post_init__(self) -> None:
            if self.first > self.limit:
                raise ValueError("too much")

    Value.__module__, Value.__qualname__ = __name__, "Value"
    return Value


def outcome(act: Callable[[], Any]) -> Any:
    """Return what comes of an act: its result, or its error in words."""
    try:
        return repr(act())
    except Exception as error:  # noqa: BLE001 - the error is what is compared
        return type(error).__name__, re.sub(r"\S*<locals>\.", "", str(error))


ACTS: dict[str, Callable[[Any], Any]] = {
    "made": lambda cls: cls(first=1),
    "made by place": lambda cls: cls(1, "b"),
    "made without a field": lambda cls: cls(),
    "made with a field that is none": lambda cls: cls(first=1, fifth=5),
    "refused by its own check": lambda cls: cls(first=6),
    "a list of its own": lambda cls: cls(first=1).third is cls(first=1).third,
    "equal": lambda cls: cls(first=1, third=[1]) == cls(first=1),
    "unequal": lambda cls: cls(first=1) == cls(first=2),
    "unequal to another kind": lambda cls: cls(first=1) == 1,
    "in a set": lambda cls: len({cls(first=1), cls(first=1), cls(first=2)}),
    "assigned": lambda cls: setattr(cls(first=1), "first", 2),
    "deleted": lambda cls: delattr(cls(first=1), "first"),
    "replaced": lambda cls: dataclasses.replace(cls(first=1), first=3),
    "replaced, and refused": lambda cls: dataclasses.replace(cls(first=1), first=6),
    "as a dict": lambda cls: dataclasses.asdict(cls(first=1)),
    "copied": lambda cls: copy.deepcopy(cls(first=1)),
    "its fields": lambda cls: [field.name for field in dataclasses.fields(cls)],
    "its places": lambda cls: cls.__match_args__,
    "its slots": lambda cls: getattr(cls, "__slots__", None),
    "of a heir": lambda cls: dataclasses.fields(type("Heir", (cls,), {})(first=1))[0].name,
}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_a_late_class_does_what_one_of_the_standard_library_does_the_first_time_and_later(act, options):
    late, usual = make(lateclass.dataclass, **options), make(dataclasses.dataclass, **options)
    expected = outcome(lambda: act(usual))
    assert [outcome(lambda: act(late)) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_heir_of_a_late_class_has_all_fields_and_runs_both_checks(options):
    def family(decorator):
        parent = make(decorator, **options)

        @decorator(**options)
        class Heir(parent):
            """A value with one field more."""

            fifth: int = 5

            def __post_init__(self) -> None:
                parent.__post_init__(self)

        Heir.__qualname__ = "Heir"
        return Heir

    late, usual = family(lateclass.dataclass), family(dataclasses.dataclass)
    for act in ACTS.values():
        assert outcome(lambda act=act: act(late)) == outcome(lambda act=act: act(usual))


def test_methods_that_a_class_has_of_its_own_stay():
    @lateclass.dataclass(frozen=True, slots=True)
    class Own:
        """A value that says, compares and hashes in its own way."""

        number: int

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    assert (repr(Own(1)), Own(1) == Own(2), hash(Own(3))) == ("mine", True, 7)


@lateclass.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A value that goes from one process to another."""

    number: int


def test_a_value_is_read_from_a_pickle_by_a_process_that_has_made_none():
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).number)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(Kept(number=3)), capture_output=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout == b"3\n"


def test_threads_that_make_the_first_values_at_once_all_get_them():
    for _ in range(20):
        late = make(lateclass.dataclass, frozen=True, slots=True)
        start, values = Barrier(4), []

        def work(late=late, start=start, values=values):
            start.wait()
            values.append((late(1), hash(late(1)), late(1) == late(1)))

        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(values)) == 1
        assert len(values) == 4


def test_no_method_is_compiled_before_it_is_called():
    late = make(lateclass.dataclass, frozen=True, slots=True)
    names = ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__")
    stubs = {name: late.__dict__[name] for name in names}
    repr(late(1))
    assert {name for name in names if late.__dict__[name] is not stubs[name]} == {
        "__init__", "__repr__", "__setattr__", "__delattr__",
    }  # fmt: skip


def test_methods_are_all_compiled_for_processes_to_be_forked():
    late = make(lateclass.dataclass, frozen=True, slots=True)
    lateclass.compile_methods()
    code = {late.__dict__[name].__code__ for name in ("__init__", "__eq__", "__hash__", "__setattr__", "__delattr__")}
    assert "stub" not in {each.co_name for each in code}
    assert late(1) == late(1)

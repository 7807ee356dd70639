"""The published JSON schema of a kind of file: what it refuses, in words, and the defaults that it gives.

A schema is the only place where fields, defaults and their descriptions stand. A command prints it, so that editors
know it, too.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vmkeep.documents.document import Document, Path
from vmkeep.documents.faults import Fault
from vmkeep.lateclass import dataclass

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_KINDS = {
    "object": "a group of fields, indented below it",
    "array": "a list, such as {example}",
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}
"""Types of JSON, as a person writes them in YAML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A value that the schema refuses."""

    path: Path
    message: str
    of_key: bool = False
    """The key is wrong or missing, not its value."""


class Schema:
    """One kind of file, as its published JSON schema describes it."""

    def __init__(self, package: str, file: str, *, kind: str, example: str) -> None:
        """Name the schema. It is read when it is first needed.

        :param package: the package that holds it.
        :param file: the name of its file.
        :param kind: the kind of file in words: ``a policy``.
        :param example: a field as it stands in such a file: ``name: nightly``.
        """
        self._package = package
        self._file = file
        self._kind = kind
        self._example = example

    @cached_property
    def text(self) -> str:
        """The schema as it is published."""
        return files(self._package).joinpath(self._file).read_text(encoding="utf-8")

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The schema as data."""
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded

    def violations(self, data: Any) -> Iterator[Violation]:
        """Yield everything that the schema refuses in a file."""
        for error in _validator()(self.data).iter_errors(data):
            yield from self._told(error)

    def completed(self, data: Mapping[str, Any], *, at: Path = ()) -> dict[str, Any]:
        """Return the data of a valid file with every default that it leaves to the schema, but not within lists.

        :param at: the field whose data this is, e.g. an item of a list.
        """
        return self._completed(data, self.field_of(at))

    def field_of(self, path: Path) -> Mapping[str, Any]:
        """Return the part of the schema that describes a field."""
        part: Mapping[str, Any] = self.data
        for step in path:
            part = self._whole(part["items"] if isinstance(step, int) else part["properties"][step])
        return part

    def _completed(self, data: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
        filled = dict(data)
        for name, field in part["properties"].items():
            whole = self._whole(field)
            if name not in filled and "default" in whole:
                filled[name] = deepcopy(whole["default"])
            if name in filled and whole.get("type") == "object":
                filled[name] = self._completed(filled[name], whole)
        return filled

    def _whole(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a part of the schema with what it refers to."""
        if "$ref" not in part:
            return part
        return {**self.data["$defs"][part["$ref"].rpartition("/")[2]], **part}

    def _told(self, error: ValidationError) -> Iterator[Violation]:
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            for key in error.instance:
                if key not in error.schema["properties"]:
                    message = _unknown(key, path, error.schema, error.instance)
                    yield Violation(path=(*path, key), message=message, of_key=True)
        elif error.validator == "required":
            missing = (*path, error.message)
            message = f"{dotted(missing)} is missing; {self._as_in(error.message, error.schema)}"
            yield Violation(path=missing, message=message, of_key=True)
        elif not path and error.validator == "type":
            yield Violation(path=path, message=f"{self._kind} has fields, such as {self._example}")
        else:
            message = _WORDINGS[str(error.validator)](error, self.field_of(path) if path else error.schema)
            yield Violation(path=path, message=f"{dotted(path)}: {message}" if path else message)

    def _as_in(self, key: str, part: Mapping[str, Any]) -> str:
        example = _example(self._whole(part["properties"][key]))
        return f"write it as in {key}: {example}"


def faults_by(schema: Schema, document: Document) -> Iterator[tuple[Path, Fault]]:
    """Yield everything that a schema refuses in a document, as a fault with its place, and the path of the value."""
    for violation in schema.violations(document.data):
        place = document.place_of_key if violation.of_key else document.place
        yield violation.path, Fault(place=place(violation.path), message=violation.message)


def dotted(path: Path) -> str:
    """Return a field's name as people write it: ``disks.exclude[1].unit``; list items count from 1."""
    words = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in path)
    return words.removeprefix(".")


@cache
def _validator() -> Any:
    """Return the validator's class, with two keywords of our own.

    A pattern is compared with the whole text, because ``$`` lets a line end pass. The error of a missing field has the
    field's name for a message. The library is loaded here, because it takes time and many programs read no policy.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(_validator: object, wanted: str, value: object, _schema: object) -> Iterator[ValidationError]:
        if isinstance(value, str) and not re.fullmatch(wanted, value):
            yield ValidationError("")

    def required(_validator: object, names: list[str], value: object, _schema: object) -> Iterator[ValidationError]:
        if isinstance(value, dict):
            yield from (ValidationError(name) for name in names if name not in value)

    return extend(Draft202012Validator, {"pattern": pattern, "required": required})


def _unknown(key: str, path: Path, part: Mapping[str, Any], given: Collection[str]) -> str:
    """Return what is wrong with a field's name. A field that the file has already is not what it means."""
    known = list(part["properties"])
    free = [name for name in known if name not in given]
    near = difflib.get_close_matches(key.lower().replace("-", "_").replace(" ", "_"), free, n=1, cutoff=0.5)
    missing = [name for name in part.get("required", ()) if name not in given]
    if not near and len(missing) == 1:
        near = missing
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
    return f"there is no field '{dotted((*path, key))}'; {hint}"


def _example(field: Mapping[str, Any]) -> str:
    found = field.get("examples") or field.get("enum") or [field.get("default", "")]
    return json.dumps(found[0], ensure_ascii=False)


def _wrong_type(error: ValidationError, field: Mapping[str, Any]) -> str:
    wanted = _first_kind(error.validator_value)
    if wanted == "string" and isinstance(error.instance, dict) and list(error.instance.values()) == [None]:
        (text,) = error.instance
        return f'{text}: is read as a field: put it into quotes, "{text}:"'
    expected = _KINDS[wanted].format(example=_example(field))
    hint = f", as in {_example(field)}" if wanted in ("string", "integer", "number", "object") else ""
    return f"{shown(error.instance)} is not {expected}{hint}"


def _first_kind(kinds: str | list[str]) -> str:
    """Return the type of a field that may also be ``null``."""
    return kinds if isinstance(kinds, str) else next(kind for kind in kinds if kind != "null")


def _no_such_value(error: ValidationError, field: Mapping[str, Any]) -> str:
    choices = [str(choice) for choice in error.validator_value if choice is not None]
    near = _near(str(error.instance), choices)
    hint = f"did you mean '{near}'? " if near else ""
    return f"{shown(error.instance)} is no {field.get('title', 'choice')}; {hint}choose from {', '.join(choices)}"


def _near(text: str, choices: list[str]) -> str | None:
    plain = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(text.lower().replace("-", "_"), plain, n=1)
    return plain[near[0]] if near else None


def shown(value: object) -> str:
    """Return a value of a file as a message repeats it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"'{value[:60]}…'" if len(value) > 60 else f"'{value}'"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a group of fields"
    return json.dumps(value)


_WORDINGS: dict[str, Callable[[ValidationError, Mapping[str, Any]], str]] = {
    "type": _wrong_type,
    "enum": _no_such_value,
    "pattern": lambda error, field: (
        f"{shown(error.instance)} is no {field.get('title', 'text')}; write it as in {_example(field)}"
    ),
    "minimum": lambda error, _: f"{shown(error.instance)} is less than {error.validator_value}, the least",
    "maximum": lambda error, _: f"{shown(error.instance)} is more than {error.validator_value}, the most",
    "minLength": lambda _, field: f"the text is empty; write it as in {_example(field)}",
    "maxLength": lambda error, _: f"the text is longer than {error.validator_value} characters",
    "minItems": lambda _, field: f"the list is empty; write it as in {_example(field)}",
    "maxItems": lambda error, _: f"the list is longer than {error.validator_value} items",
    "minProperties": lambda _, field: f"there is nothing in it; write it as in {_example(field)}",
    "uniqueItems": lambda _, __: "an item of the list stands there twice",
}
"""A sentence for each keyword of the schema that can be violated."""

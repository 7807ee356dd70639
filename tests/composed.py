"""docker-compose.yaml as Docker would read it: variables filled in, commands with their entrypoints, and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z0-9_]+)(:?[-?])?)")


class MissingVariableError(ValueError):
    """A variable that has to be filled in is empty."""


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a text of the file with its variables: ``${A}``, ``${A:-else}``, ``${A:?why}``, nested, and ``$$``."""
    done, position = [], 0
    while found := _VARIABLE.search(text, position):
        done.append(text[position : found.start()])
        if found[1]:
            done.append("$")
            position = found.end()
            continue
        end = _closing(text, found.end())
        done.append(_value(found, text[found.end() : end], variables))
        position = end + 1
    return "".join([*done, text[position:]])


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth < 0:
            return at
    raise ValueError(f"no closing brace: {text[start - 10 : start + 50]}")


def _value(found: re.Match[str], rest: str, variables: Mapping[str, str]) -> str:
    name, kind = found[2], found[3] or ""
    value = variables.get(name)
    if value or (value is not None and not kind.startswith(":")):
        return value
    if kind.endswith("?"):
        raise MissingVariableError(f"{name}: {rest}")
    return filled(rest, variables)


def variables_of(path: Path) -> dict[str, str]:
    """Return what a file like ``.env`` sets."""
    lines = [line for line in path.read_text().splitlines() if re.match(r"[A-Z]", line)]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def composed(variables: Mapping[str, str], *, file: Path = ROOT / "docker-compose.yaml") -> dict[str, Any]:
    """Return the whole file, filled in."""
    whole: dict[str, Any] = _walk(yaml.safe_load(file.read_text()), variables)
    return whole


def command_of(service: Mapping[str, Any], command: Sequence[str] = ()) -> list[str]:
    """Return the arguments of a service's process, or of another command in its place."""
    return [*service.get("entrypoint", ()), *(command or service["command"])]


def secrets_of(whole: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the content of each file in ``/run/secrets``, by its name."""
    return {name: variables[secret["environment"]] for name, secret in whole["secrets"].items()}


def _walk(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return filled(value, variables)
    if isinstance(value, list):
        return [_walk(each, variables) for each in value]
    if isinstance(value, dict):
        return {name: _walk(each, variables) for name, each in value.items()}
    return value

"""Reads a recovery plan: a file that a person wrote, or the text that a run has kept of it."""

from __future__ import annotations

import os
from pathlib import Path

from vmkeep.documents import Fault, read_document, read_text
from vmkeep.errors import NotFoundError, PlanError
from vmkeep.lateclass import dataclass
from vmkeep.recovery.building import build
from vmkeep.recovery.values import RecoveryPlan

SUFFIX = ".yaml"
_LARGEST = 1 << 18
"""Bytes of the largest file that is taken for a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan, read and checked."""

    path: str
    """The file, as a person named it."""
    text: str
    plan: RecoveryPlan | None
    """``None``: the file has faults."""
    faults: tuple[Fault, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The faults, each as ``file:line:column: what is wrong``: editors and terminals make links of it."""
        return tuple(f"{self.path}:{fault.place.line}:{fault.place.column}: {fault.message}" for fault in self.faults)

    def sound(self) -> RecoveryPlan:
        """Return the plan.

        :raises PlanError: the file has faults. The message has the first of them, and their number.
        """
        if self.plan is None:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            raise PlanError(f"{self.lines[0]}{more}; 'vmkeep dr check' lists every fault")
        return self.plan


def default_folder() -> Path:
    """Return the folder of the plans that come with vmkeep: in the installed package, or in a checkout."""
    packaged = Path(__file__).parents[1] / "dr"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "dr"


def plans_in(folder: Path) -> tuple[Path, ...]:
    """Return the plan files of a folder, sorted by name.

    :raises NotFoundError: there is no such folder.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise NotFoundError(f"folder of recovery plans {folder}: {error.strerror}") from error
    return tuple(folder / name for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def read_plan(path: Path) -> PlanFile:
    """Read a plan file.

    :raises NotFoundError: the file cannot be read.
    :raises PlanError: the file is no text.
    """
    if path.suffix != SUFFIX:
        raise PlanError(f"{path}: the name of a plan file ends with {SUFFIX}: rename it")
    try:
        text = read_text(path, most=_LARGEST)
    except OSError as error:
        raise NotFoundError(f"plan {path}: {error.strerror}") from error
    except ValueError as error:
        raise PlanError(f"{path}: {error}") from error
    return parse_plan(text, path=str(path), name=path.stem)


def parse_plan(text: str, *, path: str, name: str | None = None) -> PlanFile:
    """Read the text of a plan.

    :param path: the place that faults are told of.
    :param name: the name that the plan has to have, because its file has it; ``None``: any.
    """
    plan, faults = build(read_document(text), name=name)
    return PlanFile(path=path, text=text, plan=plan, faults=faults)

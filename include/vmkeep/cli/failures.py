"""Failed commands: each ends with one line, an exit code, and with ``--json`` a document."""

from __future__ import annotations

import logging
import traceback

import click

from vmkeep.cli.output import print_error_document, sentence
from vmkeep.errors import CancelledError, Recovery, UsageError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import in_options

UNEXPECTED = 70
"""Nobody thought of this error; BSD's code for an internal fault of the program."""
SYSTEM = 71
"""The operating system refused something, and no error of ours says it better."""
_REPORT = "this is a fault in vmkeep: please report it to its developers, with what the same command says with -v"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The line to print for an exception, and the exit code."""

    line: str
    exit_code: int
    kind: str
    recovery: Recovery = Recovery.STOP
    traced: bool = False
    """A traceback helps to find the cause."""


def ending_of(error: BaseException) -> Ending:
    """Return how a command ends that raised this."""
    match error:
        case click.Abort() | KeyboardInterrupt():
            return _ours("interrupted", CancelledError)
        case click.exceptions.NoArgsIsHelpError():
            return _ours(f"a command is missing. See '{error.ctx.command_path} --help'.", UsageError)
        case click.NoSuchOption() if error.ctx and any(isinstance(p, click.Argument) for p in error.ctx.command.params):
            name = "a name that begins with a dash is written behind 'name:', or behind '--'"
            return _ours(f"{error.format_message()} See '{error.ctx.command_path} --help'; {name}.", UsageError)
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "vmkeep"
            return _ours(f"{error.format_message()} See '{path} --help'.", UsageError)
        case click.ClickException():
            return _ours(error.format_message(), UsageError)
        case VmKeepError():
            return Ending(
                line=str(error), exit_code=error.exit_code, kind=type(error).__name__, recovery=error.recovery
            )
        case UnicodeEncodeError():
            # It may be a passphrase: not repeated.
            return _ours("an argument or a setting is not text in this system's encoding (see 'locale')", UsageError)
        case OSError():
            return Ending(line=_of_system(error), exit_code=SYSTEM, kind="OSError", traced=True)
        case _:
            what = f"unexpected {type(error).__name__}: {error}".rstrip(": ")
            return Ending(line=f"{what} ({_REPORT})", exit_code=UNEXPECTED, kind=type(error).__name__, traced=True)


def tell(error: BaseException, *, as_json: bool) -> int:
    """Say on standard error how the command ended, with a trace if it is asked to talk; return the exit code."""
    ending = ending_of(error)
    if ending.traced and logging.getLogger("vmkeep").isEnabledFor(logging.INFO):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if as_json:
        print_error_document({"error": in_options(ending.line), "class": ending.kind, "recovery": ending.recovery})
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(f"{error.format_message()}\n", err=True)
    click.echo(f"vmkeep: {sentence(ending.line)}", err=True)
    return ending.exit_code


def _ours(line: str, kind: type[VmKeepError]) -> Ending:
    return Ending(line=line, exit_code=kind.exit_code, kind=kind.__name__, recovery=kind.recovery)


def _of_system(error: OSError) -> str:
    names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return ": ".join(filter(None, (names, error.strerror or str(error) or type(error).__name__)))

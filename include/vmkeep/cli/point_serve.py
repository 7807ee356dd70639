"""``vmkeep point serve``: a point's disks for any program that speaks NBD, without a restore."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from queue import Full, Queue
from types import TracebackType
from typing import Self

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import one_line, print_json_line, print_table, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.errors import UsageError
from vmkeep.model.serving import LOOPBACK, ServedPoint, ServeRequest
from vmkeep.model.wording import size

_HIGHEST_PORT = 65535
_LINES = 1000
"""Most lines that wait to be printed."""
_LAST_WORDS_SECONDS = 2.0
"""How long the end of the command waits for lines that nobody takes."""


@command(
    "serve",
    examples={
        "Let programs on this machine read the disks": "vmkeep point serve latest:web01 --socket /run/web01.sock",
        "Let a rescue system write, and keep nothing of it": "vmkeep point serve latest:web01 --socket "
        "/run/web01.sock --writable",
        "Let another machine read one disk, by TLS with a key": "vmkeep point serve latest:web01 --disk 0 --port "
        "10809 --listen 0.0.0.0 --psk-file keys.psk",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option(
    "--disk", "disks", section=Section.WHAT, type=int, multiple=True, metavar="N",
    help="Only this disk of the point, counted from 0; may be given several times.",
)  # fmt: skip
@option(
    "--writable", section=Section.WHAT, is_flag=True,
    help="Let clients write. What they write is kept in a temporary file, and is gone when the server ends.",
)  # fmt: skip
@option(
    "--socket", section=Section.WHERE, metavar="PATH", type=click.Path(path_type=Path),
    help="Serve on a socket file that only this user can open.",
)  # fmt: skip
@option(
    "--port", section=Section.WHERE, type=click.IntRange(0, _HIGHEST_PORT), metavar="N",
    help="Serve on a TCP port; 0: any free one. NBD's own is 10809.",
)  # fmt: skip
@option(
    "--listen", section=Section.WHERE, metavar="ADDRESS",
    help=f"Open the port on this address instead of {LOOPBACK}. Needs --psk-file if others can reach the address.",
)  # fmt: skip
@option(
    "--psk-file", "keys", section=Section.WHERE, metavar="FILE", type=click.Path(path_type=Path),
    help="Take only clients that use TLS with one of the keys in this file, which psktool makes.",
)  # fmt: skip
@repository_option
@json_option
def serve(
    ref: str,
    disks: tuple[int, ...],
    writable: bool,
    socket: Path | None,
    port: int | None,
    listen: str | None,
    keys: Path | None,
    repository: str | None,
    as_json: bool,
) -> None:
    """Serve the disks of a restore point over NBD, until Ctrl-C or SIGTERM.

    POINT is its ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. The addresses are
    printed when clients can connect; with --json as a document on one line. Each block is checked before a client gets
    it. The restore point itself is never changed, and nobody deletes it meanwhile.
    """
    if (socket is None) == (port is None):
        raise UsageError("say where to serve: either --socket PATH or --port N")
    if listen is not None and port is None:
        raise UsageError("--listen belongs to --port")
    from vmkeep.flows.serving import serve_point  # takes time to import

    request = ServeRequest(
        point=ref, disks=disks, writable=writable, socket=socket, port=port, listen=listen or LOOPBACK, keys=keys
    )
    with Lines() as lines:
        with (
            open_given(repository) as opened,
            serve_point(opened, request, tell=lines.tell) as served,
            suppress(KeyboardInterrupt),  # the way to end a server, and so no failure
        ):
            if as_json:
                print_json_line(served)
            else:
                _show(served)
            threading.Event().wait()
        lines.tell("ended: all clients are disconnected", warning=False)


class Lines:
    """Prints what a server tells on standard error, in a thread of its own.

    A pipe that nobody empties, or a terminal that was stopped, lets whoever writes to it wait. That must not be the
    threads that serve clients. Lines that find no room are not printed.
    """

    def __init__(self) -> None:
        self._waiting: Queue[tuple[str, bool] | None] = Queue(_LINES)
        self._thread = threading.Thread(target=self._print, name="lines", daemon=True)

    def __enter__(self) -> Self:
        """Begin to print."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the last lines, if that is possible at all."""
        with suppress(Full):
            self._waiting.put(None, timeout=_LAST_WORDS_SECONDS)
        self._thread.join(_LAST_WORDS_SECONDS)

    def tell(self, line: str, warning: bool) -> None:
        """Print a line soon. Never waits."""
        with suppress(Full):
            self._waiting.put_nowait((line, warning))

    def _print(self) -> None:
        while (told := self._waiting.get()) is not None:
            line, warning = told
            with suppress(OSError):  # nobody reads any more, and the clients are still there
                if warning:
                    warn(line)
                else:
                    click.echo(one_line(line), err=True)


def _show(served: ServedPoint) -> None:
    print_table(
        ("disk", "capacity", "address"),
        [(f"{disk.name}, {disk.label}", size(disk.capacity), disk.uri) for disk in served.disks],
        none="no disk is served",
    )
    how = "writable; what is written is gone at the end" if served.writable else "read-only"
    click.echo(f"serving {served.point}, {how}; end it with Ctrl-C")

"""Scans files by YARA rules, in child processes: each can crash or hang without harm to anybody else."""

from __future__ import annotations

import json
import os
import queue
import selectors
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vmkeep.clock import Deadline
from vmkeep.errors import DeadlineError, TransferError
from vmkeep.model.scanfacts import ScannerFacts
from vmkeep.scanning.contract import Content, Verdict, VerdictKind
from vmkeep.scanning.owndaemon import find_program
from vmkeep.scanning.yararules import CompiledRules

FILE_SECONDS: Final = 60
"""Longest scan of one file."""
_GRACE: Final = 30.0
"""Seconds after that, until a child that does not answer is killed."""
_START_SECONDS: Final = 60.0
_MOST_ANSWER: Final = 1 << 20
_CRASHES: Final = 20
"""Crashes of children after which the rules or the machine are at fault, and not the files."""


@contextmanager
def yara_scanner(rules: CompiledRules, *, threads: int) -> Iterator[YaraScanner]:
    """Start the children that scan, and end them with the context."""
    scanner = YaraScanner(rules, threads=threads)
    try:
        yield scanner
    finally:
        scanner.close()


class YaraScanner:
    """A scanner by YARA rules; see :class:`~vmkeep.scanning.contract.Scanner`. Thread-safe."""

    warnings: tuple[str, ...] = ()

    def __init__(self, rules: CompiledRules, *, threads: int) -> None:
        self._rules = rules
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._crashes = 0
        # The kernel kills a child when the thread that has started it ends. So one thread starts all of them, and ends
        # with the scanner or with its process, but not with one of the threads that scan a volume.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="yara")
        for _ in range(threads):
            self._idle.put(None)  # a child that starts when it is needed

    @property
    def facts(self) -> ScannerFacts:
        """The version and the number of rules."""
        return self._rules.facts

    def scan(self, content: Content) -> Verdict:
        """Scan a file. If its child crashes or does not answer, the file is not scanned, and the next gets a new child.

        :raises TransferError: no child can be started, or too many have crashed.
        """
        child = self._idle.get()
        try:
            child = child or self._starter.submit(_Child, self._rules.file).result()
            answer = child.ask(content)
        except (_ChildGone, DeadlineError) as error:
            if child is not None:
                child.end()
            child = None
            self._crashes += 1
            if self._crashes > _CRASHES:
                raise TransferError(f"YARA crashed on {self._crashes} files; the last time: {error}") from error
            return Verdict(kind=VerdictKind.NOT_SCANNED, text=f"YARA did not get through it: {error}")
        finally:
            self._idle.put(child)
        if "found" in answer:
            return Verdict(kind=VerdictKind.FOUND, text=str(answer["found"]))
        if "unscanned" in answer:
            return Verdict(kind=VerdictKind.NOT_SCANNED, text=str(answer["unscanned"]))
        return Verdict(kind=VerdictKind.CLEAN)

    def close(self) -> None:
        """End all children."""
        with suppress(queue.Empty):
            while True:
                child = self._idle.get_nowait()
                if child is not None:
                    child.end()
        self._starter.shutdown()


class _ChildGone(Exception):
    """A child has ended without an answer."""


class _Child:
    """A process that runs the rules. It ends with the thread that has started it, also in the middle of a scan."""

    def __init__(self, rules: Path) -> None:
        self._process = subprocess.Popen(
            [find_program("setpriv", "util-linux"), "--pdeathsig", "KILL", "--", sys.executable,
             "-m", "vmkeep.scanning.yarachild", str(rules), str(FILE_SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._questions.fileno(), False)
        os.set_blocking(self._answers.fileno(), False)

    def ask(self, content: Content) -> dict[str, Any]:
        """Return the child's answer about a file.

        :raises _ChildGone: it has crashed.
        :raises DeadlineError: it does not answer.
        """
        name = content.name.encode("utf-8", "replace").decode()
        body = content.data
        question = {"name": name, "size": len(body)} if body is not None else {"name": name, "path": str(content.path)}
        deadline = Deadline(FILE_SECONDS + _GRACE + _START_SECONDS, waiting_for="YARA's answer")
        self._send(json.dumps(question).encode() + b"\n" + (body or b""), deadline)
        return self._receive(deadline)

    def end(self) -> None:
        """End the process."""
        for pipe in (self._questions, self._answers):
            with suppress(OSError):
                pipe.close()
        self._process.kill()
        self._process.wait()

    def _send(self, data: bytes, deadline: Deadline) -> None:
        left = memoryview(data)
        while left:
            self._wait(self._questions.fileno(), selectors.EVENT_WRITE, deadline)
            try:
                left = left[os.write(self._questions.fileno(), left[: 1 << 20]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise _ChildGone(self._end_words()) from error

    def _receive(self, deadline: Deadline) -> dict[str, Any]:
        received = b""
        while not received.endswith(b"\n"):
            self._wait(self._answers.fileno(), selectors.EVENT_READ, deadline)
            part = os.read(self._answers.fileno(), 65536)
            received += part
            if not part or len(received) > _MOST_ANSWER:
                raise _ChildGone(self._end_words())
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _wait(self, handle: int, event: int, deadline: Deadline) -> None:
        deadline.check()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, event)
            if not selector.select(deadline.remaining):
                deadline.check()

    def _end_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        return f"its process ended with {self._process.returncode}"

"""Makes the call of a guest's shell that runs one command and keeps its output, whatever the command leaves behind.

A guest takes a program and one line of arguments, so a shell of the guest runs the command.
"""

from __future__ import annotations

import shlex
from typing import Any

from vmkeep.vsphere.api import vim

SHELL = "/bin/sh"
WINDOWS_SHELL = r"C:\Windows\System32\cmd.exe"

_OUTER = (
    'exec < /dev/null; s=$(command -v setsid); $s /bin/sh -c "$2" "$0" "$1" & p=$!; '
    'trap "kill -s TERM -- ${s:+-}$p; sleep 2; kill -s KILL -- ${s:+-}$p 2> /dev/null" TERM; wait $p'
)
"""Runs :data:`_INNER` in a process group of its own where the guest can, so that the whole group can be ended."""
_INNER = (
    't=$(mktemp /dev/shm/vmkeep-XXXXXX 2> /dev/null); if [ -n "$t" ]; then exec 3> "$t" 4< "$t"; rm -f "$t"; '
    '/bin/sh -c "$0" >&3 2>&1 3>&- 4<&-; e=$?; (cat <&4; echo) > "$1" & else '
    'o=$(/bin/sh -c "$0" 2>&1); e=$?; printf "%s\\n" "$o" > "$1" & fi; exit $e'
)
"""Runs the command ``$0``, and writes its output into ``$1`` only afterwards, and without waiting for that.

A command may have frozen the file system with that file, so that a write to it would hold the command up for ever. So
the output is kept in a file in memory without a name. A command may leave a process behind that holds a lock until the
thaw, and that process may keep the output open for ever. In a guest without such files a pipe takes their place, which
waits for that process.
"""


def program_spec(command: str, output: str | None, *, windows: bool) -> Any:
    """Return the call of a shell that runs a command and writes what it prints into a file."""
    kind = vim.vm.guest.ProcessManager.ProgramSpec
    if windows:
        place = f'"{output}"' if output else "NUL"
        return kind(programPath=WINDOWS_SHELL, arguments=f'/s /c "({command}) > {place} 2>&1 < NUL"')
    words = " ".join(map(shlex.quote, (_OUTER, command, output or "/dev/null", _INNER)))
    return kind(programPath=SHELL, arguments=f"-c {words}")

"""Values as plain data: parsed in any number of threads, from the very first one on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from tests.patience import HANG
from vmkeep.model.job import from_json, to_json, to_plain

PARSE = """
import sys, threading
from dataclasses import field, make_dataclass
from vmkeep.model.job import from_json, from_plain

sys.setswitchinterval(1e-6)

def fresh(number, inner):
    fields = [(f"field_{at}", dict[str, tuple[int, ...]], field(default_factory=dict)) for at in range(20)]
    return make_dataclass(f"Fresh{number}", [("inner", inner), *fields])

for number in range(60):
    inner = fresh(number, int)
    kinds = [fresh(number, inner) for _ in range(2)]
    together = threading.Barrier(6)

    def parse(at):
        together.wait()
        if at % 2:
            from_plain(kinds[at % 4 // 2], {"inner": {"inner": 1}})
        else:
            from_json(kinds[at % 4 // 2], '{"inner": {"inner": 1}}')

    threads = [threading.Thread(target=parse, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("whole")
"""


def test_any_number_of_threads_may_be_the_first_to_parse_a_value():
    """A crash inside a C library kills the process, so that there is one for it."""
    done = subprocess.run([sys.executable, "-c", PARSE], capture_output=True, text=True, timeout=HANG, check=False)

    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-2000:]


@dataclass(frozen=True)
class Told:
    """A value with a name that a guest gave."""

    path: str
    others: tuple[str, ...]
    by_name: dict[str, int]


def test_a_name_that_is_no_unicode_reaches_json_by_escapes():
    value = Told(path="/caf\udce9", others=("/\ud800x", "/naïve \U0001f600"), by_name={"\udc80": 1})

    shown = to_plain(value)

    assert shown == {"path": r"/caf\xe9", "others": [r"/\ud800x", "/naïve \U0001f600"], "by_name": {r"\x80": 1}}
    assert json.loads(to_json(value)) == shown
    assert from_json(Told, to_json(value)).path == r"/caf\xe9"

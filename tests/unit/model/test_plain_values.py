"""Values as plain data: parsed in any number of threads, from the very first one on."""

from __future__ import annotations

import subprocess
import sys

from tests.patience import HANG

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
    """What a crash inside a C library kills is the process: so there is one for it."""
    done = subprocess.run([sys.executable, "-c", PARSE], capture_output=True, text=True, timeout=HANG, check=False)

    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-2000:]

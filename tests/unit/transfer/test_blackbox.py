"""The black box keeps the last lines whole, whatever their lengths, for another process."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmkeep.blackbox import BlackBox


@pytest.fixture(scope="module")
def reader():
    """Return a function that reads a box as another process would: through a descriptor of its own."""

    def read(box):
        other = BlackBox(os.dup(box.descriptor))
        try:
            return other.lines()
        finally:
            other.close()

    return read


@settings(max_examples=60)
@given(lines=st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=900), max_size=80))
def test_the_last_lines_are_kept_in_order_and_none_in_part(reader, lines):
    box = BlackBox.make()
    for line in lines:
        box.write(line)
    found = reader(box)
    box.close()
    assert found == lines[len(lines) - len(found) :]
    assert len(found) == len(lines) or sum(len(line.encode()) + 1 for line in found) > 16384 - 3700


def test_a_line_longer_than_all_others_leaves_room_for_them(reader):
    box = BlackBox.make()
    box.write("first")
    box.write("x" * 100_000)
    assert [len(line) for line in reader(box)] == [5, 4096]
    box.close()


def test_lines_outlive_the_process_that_wrote_them():
    box = BlackBox.make()
    code = (
        "import os, sys; from vmkeep.blackbox import BlackBox\n"
        "BlackBox(int(sys.argv[1])).write('about to crash')\n"
        "os.abort()"
    )
    descriptor = box.descriptor
    subprocess.run([sys.executable, "-c", code, str(descriptor)], pass_fds=[descriptor], check=False)
    assert box.lines() == ["about to crash"]
    box.close()

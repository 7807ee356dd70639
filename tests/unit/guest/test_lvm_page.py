"""The page of findings has a line for each code, and none for a code that is not there."""

import re
from pathlib import Path

from vmkeep.guest.lvm import FindingCode

PAGE = Path(__file__).parents[3] / "docs" / "operations" / "lvm-findings.md"


def test_the_page_explains_each_code():
    told = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(FindingCode)

"""Looks for malware in the files of a guest. It knows no repository and no disk, only open file systems.

A scanner takes the content of one file and returns a verdict: clean, found, or not scanned. The third is as important
as the first two, because a scanner that skips a file silently would make an infected file look clean. So each scanner
has to prove itself before any of its verdicts counts.

``contract`` is what a scanner promises. ``clamd`` talks to ClamAV's daemon, ``clamdprobes`` makes the daemon prove
itself, and ``owndaemon`` starts a daemon for one scan. ``yararules`` compiles and runs YARA rules. ``contents`` reads a
file once, for all scanners. ``walking`` chooses the files of a file system, and ``running`` scans them in parallel.
``opening`` makes scanners of the places that a person names.
"""

from vmkeep.scanning.contract import Scanner, Verdict, VerdictKind
from vmkeep.scanning.opening import ScannerPlaces, default_clamav, open_scanners
from vmkeep.scanning.running import Scan

__all__ = ["Scan", "Scanner", "ScannerPlaces", "Verdict", "VerdictKind", "default_clamav", "open_scanners"]

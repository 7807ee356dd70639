"""Writes files of a guest to a local folder, a tar or a zip archive. It knows no repository.

``walking`` goes through a guest's file system, folder by folder. ``content`` reads a file piece by piece and skips its
holes. ``folderwriting``, ``tarwriting`` and ``zipwriting`` each write what the walk finds; ``fetching`` drives them.
``drafts`` gives the result its name when it is complete and was read back.

Everything that is read was written by a stranger: no name leads out of the folder that is written, no link is followed,
no device is made, and no program gets the rights of this machine's users (``names``).
"""

from vmkeep.fetching.content import read_through, sha256_of, whole
from vmkeep.fetching.fetching import Fetch, fetch, require_possible
from vmkeep.fetching.report import Report
from vmkeep.fetching.walking import Step, Walk, walk

__all__ = ["Fetch", "Report", "Step", "Walk", "fetch", "read_through", "require_possible", "sha256_of", "walk", "whole"]

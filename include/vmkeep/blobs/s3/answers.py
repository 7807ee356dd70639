"""Parses an error of the S3 client into fields: HTTP status, the server's code, and the failure of the connection.

The client raises a text. Its first part is prose that may hold addresses, keys and the server's own words, so nothing
is decided by it. Its last part is the error's structure in Rust's debug form, with one field a line. Texts in it stand
in quotes with their line ends escaped, so no text can look like a field.
"""

from __future__ import annotations

import re

from obstore.exceptions import PermissionDeniedError

from vmkeep.lateclass import dataclass

_STRUCTURE = "\nDebug source:\n"
_STATUS = re.compile(r"^ *status: (\d{3}),$", re.MULTILINE)
_BODY = re.compile(r'^ *body: Some\(\n *"(.*)",$', re.MULTILINE)
_KIND = re.compile(r"^ *(?:source: )?HttpError \{\n *kind: (\w+),$", re.MULTILINE)
_REDIRECT = re.compile(r"^ *inner: BareRedirect,$", re.MULTILINE)
_DELETE_CODE = re.compile(r'^ *source: DeleteFailed \{\n.*\n *code: "(\w+)",$', re.MULTILINE)
_CODE = re.compile(r"<Code>([\w.]+)</Code>")
_REDIRECTED = 301
_OF_CLASSES: dict[type[Exception], int] = {FileNotFoundError: 404, PermissionDeniedError: 403}
_OF_CODES = {"AccessDenied": 403, "NoSuchKey": 404, "InternalError": 500, "SlowDown": 503}
"""The HTTP status that belongs to a code. A deletion is answered with status 200 and a code for each object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer to a request that failed."""

    status: int = 0
    """HTTP status; 0: no answer came."""
    code: str = ""
    """The error code in the answer's body; empty: the body had none."""
    failure: str = ""
    """The reason why no whole answer came, in the client's words: ``Connect``, ``Timeout``, ``Interrupted`` …"""
    words: str = ""
    """The error's text, to be shown to people only."""


def dissect(error: Exception) -> Answer:
    """Parse an error of the client."""
    prose, _, structure = str(error).rpartition(_STRUCTURE)
    words = (prose or structure).strip().partition("\n")[0]
    if _REDIRECT.search(structure):
        return Answer(status=_REDIRECTED, words=words)
    if (refused := _DELETE_CODE.search(structure)) is not None:
        return Answer(status=_OF_CODES.get(refused[1], 400), code=refused[1], words=words)
    status = int(match[1]) if (match := _STATUS.search(structure)) else _OF_CLASSES.get(type(error), 0)
    body = match[1] if (match := _BODY.search(structure)) else ""
    code = match[1] if (match := _CODE.search(body)) else ""
    failure = match[1] if (match := _KIND.search(structure)) else ""
    return Answer(status=status, code=code, failure=failure, words=words)

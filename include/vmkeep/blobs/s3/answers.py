"""An error of the S3 client as fields: HTTP status, the server's code, and how the connection failed.

The client raises text. Its first part is prose, into which addresses, keys and the server's own words are mixed, so
nothing is decided by it. Its last part is the error's structure in Rust's debug form, one field a line; there all
text stands in quotes with its line ends escaped, so that no text can look like a field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from obstore.exceptions import PermissionDeniedError

_STRUCTURE = "\nDebug source:\n"
_STATUS = re.compile(r"^ *status: (\d{3}),$", re.MULTILINE)
_BODY = re.compile(r'^ *body: Some\(\n *"(.*)",$', re.MULTILINE)
_KIND = re.compile(r"^ *HttpError \{\n *kind: (\w+),$", re.MULTILINE)
_REDIRECT = re.compile(r"^ *inner: BareRedirect,$", re.MULTILINE)
_DELETE_CODE = re.compile(r'^ *source: DeleteFailed \{\n.*\n *code: "(\w+)",$', re.MULTILINE)
_CODE = re.compile(r"<Code>([\w.]+)</Code>")
_REDIRECTED = 301
_OF_CLASSES: dict[type[Exception], int] = {FileNotFoundError: 404, PermissionDeniedError: 403}
_OF_CODES = {"AccessDenied": 403, "NoSuchKey": 404, "InternalError": 500, "SlowDown": 503}
"""A request that deletes is answered 200 with a code for each object; the status that such a code has elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer to a request that failed."""

    status: int = 0
    """HTTP status; 0: no answer came."""
    code: str = ""
    """The error code in the answer's body; empty: it had none."""
    failure: str = ""
    """Why no answer came, by the client's word for it: ``Connect``, ``Timeout`` …"""
    words: str = ""
    """For people only."""


def dissect(error: Exception) -> Answer:
    """Take an error of the client apart."""
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

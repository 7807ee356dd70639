"""Patterns for names and paths of files: ``*`` is any characters, ``?`` is one, and all others are themselves.

A pattern without a slash is compared with the last part of a path; one with a slash with the whole path. There ``*``
stands for slashes, too.
"""

from __future__ import annotations

import re

from vmkeep.errors import UsageError


def path_bytes(path: str) -> bytes:
    """Return a path as an index holds it: the guest's own bytes where it is no UTF-8."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone half of a UTF-16 pair
        return path.encode("utf-8", "surrogatepass")


class Pattern:
    """A pattern, ready to search in many paths."""

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        """:param ignore_case: take ``a`` and ``A`` for one letter; only so for the letters of English.

        :raises UsageError: the pattern is empty, or holds a zero byte.
        """
        if not text or "\0" in text:
            raise UsageError("a pattern for names of files cannot be empty, nor hold a zero byte")
        self.text = text
        whole = "/" in text
        if whole and not text.startswith(("/", "*")):
            text = f"/{text}"
        other = rb"[^\0]" if whole else rb"[^/\0]"
        one = rb"(?:[^\0\x80-\xbf][\x80-\xbf]*)" if whole else rb"(?:[^/\0\x80-\xbf][\x80-\xbf]*)"
        self._regex = re.compile(
            (rb"\0" if whole else rb"/") + _body(text, other, one) + rb"\0", re.IGNORECASE if ignore_case else 0
        )

    def places(self, paths: bytes) -> list[int]:
        """Return the place of each fitting path in many: the offset of its last byte.

        :param paths: each path between two zero bytes, of which two neighbours share one.
        """
        found, at = [], 0
        while (match := self._regex.search(paths, at)) is not None:
            found.append(match.end() - 2)
            at = match.end() - 1  # the zero byte begins the next path, too
        return found

    def fits(self, path: str) -> bool:
        """Return whether one path fits."""
        return self._regex.search(b"\0%b\0" % path_bytes(path)) is not None


def _body(text: str, other: bytes, one: bytes) -> bytes:
    """Return the expression of a pattern. What stands between two stars is found once and never looked for again."""
    first, *rest = text.split("*")
    if not rest:
        return _fixed(first, one)
    *middle, last = rest
    between = b"".join(b"(?>%b*?%b)" % (other, _fixed(part, one)) for part in middle if part)
    return b"%b%b%b*%b" % (_fixed(first, one), between, other, _fixed(last, one))


def _fixed(text: str, one: bytes) -> bytes:
    return one.join(re.escape(path_bytes(part)) for part in text.split("?"))

"""Reads the fields of a form that a browser sends."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import parse_qs

from fastapi import Depends, HTTPException, Request, status

from vmkeep.web import Given

_LONGEST: Final = 256 << 10
"""Bytes of a form. The longest has a choice for each network card and each disk of a VM."""
_MOST: Final = 1000


async def sent_form(request: Request) -> Given:
    """Return the values of a form by the names of its fields.

    :raises HTTPException: it is too long, or no form of a page.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, "Send the fields of the form, URL-encoded.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, "The form is too long.")
    try:
        return parse_qs(body.decode(), max_num_fields=_MOST)
    except ValueError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, f"The form cannot be read: {error}") from error


SentForm = Annotated[Given, Depends(sent_form)]

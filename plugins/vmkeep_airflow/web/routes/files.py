"""The browser of a point's files, and the downloads. Both need the right to restore, because they show what is inside.

Airflow's audit log gets a line for each download.
"""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import Depends, HTTPException, Query, Request, status
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from vmkeep.errors import UsageError
from vmkeep.flows.point_file_stream import FetchForm, StreamRequest
from vmkeep.flows.point_files import FilePath
from vmkeep.web import FETCHED, FilesChoice, FilesPage
from vmkeep_airflow.web.access import Operator, operator
from vmkeep_airflow.web.auditlog import note
from vmkeep_airflow.web.downloads import Download
from vmkeep_airflow.web.frame import answer_router, data, html, page_router
from vmkeep_airflow.web.pointfiles import load_files
from vmkeep_airflow.web.repositories import connection_to
from vmkeep_airflow.web.sources import load_point

pages = page_router()
answers = answer_router()

_LONGEST: Final = 20_000
"""Characters of a key of a path."""
_Volume = Annotated[str, Query(max_length=1000, description="Key of a volume; empty: all volumes are listed")]
_Path = Annotated[str, Query(max_length=_LONGEST, description="Key of a path in the volume")]
_Form = Literal["", "tar", "zip"]


def _choice(
    volume: _Volume = "",
    path: _Path = "/",
    first: Annotated[int, Query(ge=0, le=100_000_000, description="Entries that are left out")] = 0,
    q: Annotated[str, Query(max_length=200, description="A part of a name, or a pattern with * and ?")] = "",
) -> FilesChoice:
    _place(volume, path)
    return FilesChoice(volume=volume, path=path, first=first, search=q.strip())


def _place(volume: str, path: str) -> FilePath:
    """Return the place that keys mean.

    :raises HTTPException: the path leads upwards.
    """
    try:
        return FilesChoice(volume=volume, path=path).at
    except UsageError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error


Choice = Annotated[FilesChoice, Depends(_choice)]


@pages.get("/files/{point_id}")
def show_files(user: Operator, point_id: str, choice: Choice) -> HTMLResponse:
    """Show the volumes of a point, a folder, or the result of a search."""
    return html("files.html", user, page=load_files(load_point(point_id), choice))


@answers.get(
    "/files/{point_id}",
    response_model=FilesPage,
    summary="Volumes, folders and searches in a restore point",
    dependencies=[Depends(operator)],
)
def tell_files(point_id: str, choice: Choice) -> Response:
    """Return a page of files as data. Sizes are in bytes, times in UTC; a key stands for a path in addresses."""
    return data(load_files(load_point(point_id), choice))


@pages.get("/fetch/{point_id}")
def fetch(
    user: Operator, request: Request, point_id: str, volume: _Volume, path: _Path = "/", form: _Form = ""
) -> Response:
    """Give a file, or a folder as an archive. Each block is checked before a byte of it leaves."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This download was asked for by a page of another server.")
    point = load_point(point_id)
    at = _place(volume, path)
    asked = StreamRequest(point=point.ref, at=at, form=FetchForm(form) if form else None)
    download = Download(partial(connection_to, point.repository), asked, what=f"{volume}:{path} of {point.ref}")
    try:
        note(user, FETCHED, point=point.ref, volume=volume, path=path, form=form)
    except BaseException:
        download.stop()
        raise
    head = download.start()
    headers = {
        "Content-Disposition": disposition(head.name),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        # Airflow would compress the answer, and so take the length away by which a browser sees that it is not whole.
        "Content-Encoding": "identity",
    }
    if head.size is not None:
        headers["Content-Length"] = str(head.size)
    if download.is_whole:
        download.stop()
        return Response(b"".join(download.begun), media_type="application/octet-stream", headers=headers)
    return StreamingResponse(download.pieces(), media_type="application/octet-stream", headers=headers)


def disposition(name: str) -> str:
    """Return the header by which a browser saves an answer under a name, and never shows it.

    A name of a guest may hold anything. All that could end the header, name a folder, hide or turn text is a line.
    """
    safe = "".join("_" if each in _BAD or unicodedata.category(each)[0] == "C" else each for each in name)[:150]
    ascii_only = "".join(each if each.isascii() and (each.isalnum() or each in "._- ()") else "_" for each in safe)
    return f"attachment; filename=\"{ascii_only or '_'}\"; filename*=UTF-8''{quote(safe or '_', safe='')}"


_BAD: Final = frozenset('/\\:*?"<>|%')

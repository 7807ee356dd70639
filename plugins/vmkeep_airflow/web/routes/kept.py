"""Files: those that pages load, and the pictures that are kept with restore points."""

from __future__ import annotations

from fastapi import Depends, HTTPException, status
from fastapi.responses import Response

from vmkeep.web import STATIC
from vmkeep_airflow.web.access import operator
from vmkeep_airflow.web.frame import page_router
from vmkeep_airflow.web.repositories import load_screen

pages = page_router()


@pages.get("/screens/{repository}/{vm_key}/{name}", dependencies=[Depends(operator)])
def show_screen(repository: str, vm_key: str, name: str) -> Response:
    """Give the picture of a screen that a boot test kept with a point."""
    content = load_screen(repository, f"{vm_key}/{name}")
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@pages.get("/static/{name}")
def give_file(name: str) -> Response:
    """Give a file that pages load. It says nothing of anybody, so nobody is asked who calls."""
    if name not in STATIC:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such file.")
    file = STATIC[name]
    return Response(file.content(), media_type=file.media_type, headers={"Cache-Control": "public, max-age=300"})

"""`/folder/<path>?dcPath=…&dsName=…`: files of a datastore over HTTP, by session cookie or basic authentication.

GET and HEAD with one byte range, PUT (written aside, then renamed). Nothing outside the datastore can be named.
"""

import base64
import binascii
import html
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, unquote_plus, urlsplit

from vmlab.api import vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.properties import find_by_path
from vmlab.managed.site import BACKUP_PRIVILEGES, Site, cookie_of
from vmlab.managed.storage import lock_holder
from vmlab.soap import HttpRequest, HttpResponse, plain

PREFIX = "/folder"
PIECE = 1 << 20
BROWSE, MANAGE = "Datastore.Browse", "Datastore.FileManagement"
assert {BROWSE, MANAGE} <= set(BACKUP_PRIVILEGES)


class FolderHandler:
    """Answers `/folder` of the vCenter, which hands each request to some host that has the datastore.

    The lab always takes the worst host: one that holds no lock. A host without vCenter answers for itself.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._files = FileService(site, None if site.product.is_vcenter else site.world.all(vim.HostSystem)[0])

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        user = self._user(request)
        if user is None:
            return plain(401, "log in first", {"WWW-Authenticate": 'Basic realm="VMware HTTP server"'})
        if (fault := planned(self._site, f"folder.{request.method}")) is not None:
            return fault
        parts = urlsplit(request.target)
        # A vCenter decodes names twice: once like any server, and once more on the way to the host.
        decoded = unquote_plus if self._site.product.is_vcenter else str
        query = {name: decoded(values[0]) for name, values in parse_qs(parts.query).items()}
        center = query.get("dcPath", "")
        with self._site.world.lock:
            if center and not isinstance(find_by_path(self._site, center), vim.Datacenter):
                return plain(404, f"no datacenter {center}")
        relative = unquote(parts.path.removeprefix(PREFIX)).strip("/")
        return self._files.answer(request, user, query.get("dsName", ""), relative)

    def _user(self, request: HttpRequest) -> str | None:
        session = self._site.sessions.find(cookie_of(request.headers))
        if session is not None:
            return session.user
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return self._site.access.authenticate(user, password)


class FileService:
    """Gives and takes files for a user, as one host can reach them. The host `None` holds no locks."""

    def __init__(self, site: Site, host: Any) -> None:
        self._site = site
        self._host = host

    def answer(self, request: HttpRequest, user: str, datastore: str, relative: str) -> HttpResponse:
        """Answer one request for the file at `relative` of a datastore."""
        try:
            with self._site.world.lock:
                store = ds_paths.datastore_named(self._site, datastore)
            path = ds_paths.local(self._site, f"[{datastore}] {relative}")
            writing = request.method == "PUT"
            for privilege in (MANAGE,) if writing else (BROWSE, MANAGE):
                if not self._site.access.allowed(user, store, privilege):
                    return plain(403, f"{user} lacks {privilege}")
            if lock_holder(self._site, path) not in (None, self._host):
                return plain(500, "the file is locked by another host")
            if writing:
                return self._put(request, path)
            if request.method in ("GET", "HEAD"):
                return _send_folder(request, path) if path.is_dir() else _send_file(request, path)
        except vmodl.MethodFault as fault:
            return plain(404, str(fault.msg))
        except OSError as error:
            return plain(507 if error.errno == 28 else 500, str(error.strerror))
        return plain(405, "GET, HEAD and PUT only")

    def _put(self, request: HttpRequest, path: Path) -> HttpResponse:
        if not path.parent.is_dir() or path.is_dir():
            return plain(404, "the folder does not exist")
        existed = path.exists()
        temporary = path.with_name(f".upload-{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                while piece := request.body.read(PIECE):
                    file.write(piece)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._site.world.touch()
        return plain(200 if existed else 201, "")


def folder_path(target: str) -> bool:
    """Return whether a request is for `/folder`."""
    path = target.partition("?")[0]
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def planned(site: Site, name: str) -> HttpResponse | None:
    """Return the planned outcome of a request (`folder.GET`, `host.GET` …), or None if no fault is planned."""
    injection = site.faults.take(name)
    if injection is None:
        return None
    site.faults.wait(injection)
    if injection.drop:
        return HttpResponse(drop=True)
    return plain(injection.status, "planned fault") if injection.status is not None else None


def _send_file(request: HttpRequest, path: Path) -> HttpResponse:
    if not path.is_file():
        return plain(404, "no such file")
    size = path.stat().st_size
    headers = {"Accept-Ranges": "bytes"}
    span = _range(request.headers.get("range", ""), size)
    if span is None:
        return plain(416, "", {"Content-Range": f"bytes */{size}"})
    start, stop = span
    status = 206 if request.headers.get("range") and (start, stop) != (0, size) else 200
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    body: Iterator[bytes] | bytes = b"" if request.method == "HEAD" else _pieces(path, start, stop)
    return HttpResponse(
        status=status, body=body, length=stop - start, content_type="application/octet-stream", headers=headers
    )


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return the half-open span that a Range header asks for, or None if it cannot be met. Default: the whole file."""
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d*)-(\d*)\s*", header)
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else None


def _pieces(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop:
            piece = file.read(min(PIECE, stop - start))
            if not piece:
                # The file was cut meanwhile, and the client was promised this length.
                piece = bytes(min(PIECE, stop - start))
            start += len(piece)
            yield piece


def _send_folder(request: HttpRequest, path: Path) -> HttpResponse:
    query = html.escape(urlsplit(request.target).query)
    base = html.escape(urlsplit(request.target).path.rstrip("/"))
    names = sorted(
        entry.name + ("/" if entry.is_dir() else "") for entry in os.scandir(path) if not entry.name.startswith(".")
    )
    rows = "".join(f'<li><a href="{base}/{quote(name)}?{query}">{html.escape(name)}</a></li>\n' for name in names)
    page = f"<!DOCTYPE html>\n<title>Index of {base}</title>\n<ul>\n{rows}</ul>\n".encode()
    return HttpResponse(body=page, content_type="text/html; charset=utf-8")

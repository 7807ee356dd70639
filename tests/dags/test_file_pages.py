"""The file browser shows each name harmless, leads nowhere else, and hands out only whole and checked files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import stat
import subprocess
import tarfile
import threading
import warnings
import zipfile
from dataclasses import replace
from email.message import Message
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.command_line import run_here
from tests.patience import HANG, eventually
from vmkeep.catalog import open_catalog
from vmkeep.flows.point_file_stream import StreamRequest
from vmkeep.flows.point_files import make_file_path
from vmkeep.repository import create_repository, open_repository

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    import httpx
    import uvicorn
    from airflow.api_fastapi.app import create_auth_manager, init_auth_manager
    from airflow.api_fastapi.core_api.app import init_middlewares
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from sqlalchemy import func, select

    from tests.dags.test_web_view import as_role
    from vmkeep_airflow.web import FASTAPI_APPS, downloads, pointfiles
    from vmkeep_airflow.web.routes import files as files_routes
    from vmkeep_airflow.web.routes.files import disposition

pytestmark = pytest.mark.filterwarnings("default")

LARGE = random.Random(14).randbytes(20 << 20)
"""The content of a file that is larger than what is read before an answer begins."""
ODD = {
    "<img src=x onerror=alert(1)>": b"markup",
    "line\nbreak": b"break",
    "evil\u202egpj.exe": b"turned",
    "caf\udce9": b"no UTF-8",
    "50%25 %2f..%2f": b"percents",
    "quote\"'&": b"quotes",
    "semi;colon: \\ back": b"signs",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a repository, a catalog and a point of a disk with odd names."""
    folder = tmp_path_factory.mktemp("browser")
    tree = folder / "tree"
    (tree / "odd").mkdir(parents=True)
    (tree / "many").mkdir()
    for name, content in ODD.items():
        Path(os.fsdecode(os.fsencode(str(tree / "odd")) + b"/" + name.encode("utf-8", "surrogateescape"))).write_bytes(
            content
        )
    for number in range(450):
        (tree / "many" / f"file{number:03}").write_text(str(number))
    (tree / "link").symlink_to("../../etc/passwd")
    (tree / "large").write_bytes(LARGE)
    (tree / "empty").touch()
    image = folder / "disk.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, image, "40M"], check=True)
    with create_repository(str(folder / "repo")):
        pass
    where = {"VMKEEP_REPOSITORY": str(folder / "repo"), "VMKEEP_CATALOG": f"sqlite:///{folder}/catalog.db"}
    done = run_here("image", "import", str(image), "--name", "odd01", **where)
    assert done.returncode == 0, done.stderr
    with open_repository(str(folder / "repo")) as repository, open_catalog(where["VMKEEP_CATALOG"]) as catalog:
        catalog.refresh(repository)
        point = repository.find_point("latest:odd01")
    return folder, point.id


@pytest.fixture
def client(place, monkeypatch):
    folder, _ = place
    fields = {"conn_type": "vmkeep", "host": f"{folder}/repo", "extra": {"catalog": f"sqlite:///{folder}/catalog.db"}}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(folder))
    create_auth_manager()
    outer = FastAPI()
    outer.mount(FASTAPI_APPS[0]["url_prefix"], FASTAPI_APPS[0]["app"])
    made = TestClient(outer, follow_redirects=False, raise_server_exceptions=False)
    return as_role(made, "user")


@pytest.fixture
def files(client, place):
    def ask(what="api/files", **query):
        return client.get(f"/vmkeep/{what}/{place[1]}", params=query)

    return ask


def test_volumes_folders_and_files_are_shown_and_each_file_has_the_bytes_that_it_had(files):
    (volume,) = files().json()["volumes"]
    assert (volume["key"], volume["kind"], volume["has_files"]) == ("disk0", "ext4", True)
    top = files(volume="disk0").json()
    assert [(row["name"], row["kind"]) for row in top["rows"]] == [
        ("empty", "file"), ("large", "file"), ("link", "symlink"), ("lost+found", "folder"), ("many", "folder"),
        ("odd", "folder"),
    ]  # fmt: skip
    assert top["rows"][2]["target"] == "../../etc/passwd"
    odd = files(volume="disk0", path="/odd").json()["rows"]
    assert len(odd) == len(ODD)
    contents = {files("fetch", volume="disk0", path=row["key"]).content for row in odd}
    assert contents == set(ODD.values())
    empty = files("fetch", volume="disk0", path="/empty")
    assert (empty.status_code, empty.content, empty.headers["content-length"]) == (200, b"", "0")


def test_the_warnings_of_a_point_are_those_that_its_repository_has(client, place):
    folder, point_id = place
    warnings = ("Hard disk 2: <b>left out</b>", "the guest did not quiesce")
    with (
        open_repository(str(folder / "repo")) as repository,
        open_catalog(f"sqlite:///{folder}/catalog.db") as catalog,
    ):
        point = repository.find_point(point_id)
        vm = replace(point.vm, key="warned", name="warned")
        repository.seal(replace(point, id="5" * 16, run="warned", vm=vm, warnings=warnings))
        catalog.refresh(repository)

    assert client.get(f"/vmkeep/api/warnings/{'5' * 16}").json()["warnings"] == list(warnings)
    page = client.get(f"/vmkeep/warnings/{'5' * 16}").text
    assert "<li>Hard disk 2: &lt;b&gt;left out&lt;/b&gt;</li>" in page
    assert f'href="/vmkeep/warnings/{"5" * 16}"' in client.get("/vmkeep/vms/warned").text


def test_a_large_file_is_streamed_whole(files):
    answer = files("fetch", volume="disk0", path="/large")
    assert answer.headers["content-length"] == str(len(LARGE))
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(LARGE).digest()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_folder_comes_as_an_archive_that_others_read(files):
    packed = files("fetch", volume="disk0", path="/many", form="tar")
    with tarfile.open(fileobj=io.BytesIO(packed.content)) as archive:
        assert len(archive.getmembers()) == 451
        assert archive.extractfile("many/file321").read() == b"321"
    whole = files("fetch", volume="disk0", form="tar")
    assert re.match(r'attachment; filename="disk0\.tar"', whole.headers["content-disposition"])
    zipped = files("fetch", volume="disk0", path="/many", form="zip")
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        assert archive.testzip() is None
        assert archive.read("many/file007") == b"7"
        assert stat.S_ISREG(archive.getinfo("many/file007").external_attr >> 16)


def test_a_page_of_a_large_folder_leads_to_the_next_and_back(files):
    first = files(volume="disk0", path="/many").json()
    assert (first["total"], len(first["rows"]), first["newer"], first["older"]) == (450, 200, None, 200)
    last = files(volume="disk0", path="/many", first=400).json()
    assert ([row["name"] for row in last["rows"]][-1], last["newer"], last["older"]) == ("file449", 200, None)
    page = files("files", volume="disk0", path="/many", first=200)
    assert "450 entries, 201 to 400 are shown" in page.text


def test_a_search_goes_below_and_takes_patterns(files):
    def found(q, path="/"):
        return [row["name"] for row in files(volume="disk0", path=path, q=q).json()["rows"]]

    assert found("FILE04") == [f"/many/file04{number}" for number in range(10)]
    assert found("file??9", path="/many")[:2] == ["/many/file009", "/many/file019"]
    assert found("file", path="/odd") == []


def test_a_search_that_takes_too_long_or_finds_too_much_says_so(files, monkeypatch):
    monkeypatch.setattr(pointfiles, "MOST_FOUND", 3)
    many = files(volume="disk0", q="file").json()
    assert (len(many["rows"]), many["ended_early"][:11]) == (3, "The first 3")
    monkeypatch.setattr(pointfiles, "SECONDS", -1.0)
    late = files("files", volume="disk0", q="file")
    assert late.status_code == 200
    assert "The search was ended after" in late.text


def test_names_of_strangers_are_shown_harmless(files):
    text = files("files", volume="disk0", path="/odd").text
    assert "<img src=x" not in text
    assert not {"\u202e", "\udce9"} & set(text)
    for shown in ("&lt;img src=x onerror=alert(1)&gt;", "line\\u000abreak", "evil\\u202egpj.exe", "caf\\udce9"):
        assert shown in text


@pytest.mark.parametrize("name", [*ODD, "..", "../../x", "a" * 400, "", "\r\nSet-Cookie: a=b", "\ud800", "con.txt\0"])
def test_a_browser_saves_a_download_under_a_harmless_name_and_never_shows_it(name):
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    parsed = Message()
    parsed["content-disposition"] = header
    assert parsed.get_content_disposition() == "attachment"
    wide = unquote(header.rpartition("UTF-8''")[2])
    for shown in (str(parsed.get_filename()), wide, re.search(r'filename="([^"]*)"', header)[1]):
        assert shown
        assert len(shown) <= 150
        assert shown.isprintable()
        assert not {"/", "\\", ":", '"', "\u202e"} & set(shown)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"volume": "disk0", "path": "/../etc"}, 422),
        ({"volume": "disk0", "path": "/odd/%2e;%2e;/x"}, 422),
        ({"volume": "disk0", "path": "/link/passwd"}, 404),
        ({"volume": "disk0", "path": "/etc/passwd"}, 404),
        ({"volume": "disk0", "path": "/%0;"}, 404),
        ({"volume": "../repo", "path": "/"}, 404),
        ({"volume": "disk9"}, 404),
        ({"volume": "disk0", "path": "x" * 20_001}, 422),
        ({"volume": "disk0", "first": "-1"}, 422),
    ],
)
def test_no_path_leads_out_of_a_volume(files, query, code):
    assert files(**query).status_code == code
    if "first" not in query:
        answer = files("fetch", **query)
        assert answer.status_code == code
        assert "content-disposition" not in answer.headers


def test_what_has_no_content_is_refused_by_name(files):
    answer = files("fetch", volume="disk0", path="/link")
    assert answer.status_code == 409
    assert "symbolic link" in answer.text
    assert files("fetch", volume="disk0", path="/large", form="folder").status_code == 422


def test_only_who_may_restore_sees_files_and_no_page_of_another_server_fetches_them(client, files):
    elsewhere = {"sec-fetch-site": "cross-site"}
    point = client.get("/vmkeep/api/fleet").json()["rows"][0]["vm_key"]
    point_id = client.get(f"/vmkeep/api/vms/{point}").json()["points"][0]["id"]
    path = f"/vmkeep/fetch/{point_id}?volume=disk0&path=/empty"
    assert client.get(path, headers=elsewhere).status_code == 403
    assert client.get(path, headers={"sec-fetch-site": "same-origin"}).status_code == 200
    as_role(client, "viewer")
    for what in ("files", "api/files", "fetch"):
        assert files(what, volume="disk0", path="/empty").status_code == 403


def test_each_download_stands_in_the_audit_log_with_its_user(client, files, place):
    as_role(client, "op")
    files("fetch", volume="disk0", path="/empty", form="zip")
    with create_session() as session:
        entry = session.scalars(select(Log).where(Log.event == "vmkeep_fetch_file").order_by(Log.id.desc())).first()
        assert entry.owner == "the op"
        told = json.loads(entry.extra)
    assert (told["volume"], told["path"], told["form"]) == ("disk0", "/empty", "zip")
    assert place[1] in told["point"]


@pytest.fixture
def damaged(place):
    """Damage one block of the large file, three quarters into it, for the time of a test."""
    inside = LARGE[(15 << 20) + 1000 :][:64]
    packs = [each for each in (place[0] / "repo" / "packs").rglob("*") if each.is_file()]
    (pack,) = [each for each in packs if inside in each.read_bytes()]
    content = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(content.replace(inside, bytes(64)))
    yield
    pack.write_bytes(content)


def test_a_damaged_file_is_never_handed_out_as_whole(files, damaged):
    answer = files("fetch", volume="disk0", path="/large")
    assert answer.status_code != 200 or len(answer.content) < len(LARGE)
    packed = files("fetch", volume="disk0", form="zip")
    assert packed.status_code != 200 or not zipfile.is_zipfile(io.BytesIO(packed.content))
    packed = files("fetch", volume="disk0", form="tar")
    assert packed.status_code != 200 or not packed.content.endswith(bytes(1024)), "the end of an archive is zeros"


@pytest.fixture
def served(client):
    """Serve the app over HTTP, behind the middlewares that Airflow has, and return a client of it."""
    outer = FastAPI()
    outer.mount(FASTAPI_APPS[0]["url_prefix"], FASTAPI_APPS[0]["app"])
    init_auth_manager(outer)
    init_middlewares(outer)
    server = uvicorn.Server(uvicorn.Config(outer, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", cookies=dict(client.cookies), timeout=HANG) as made:
        yield made
    server.should_exit = True
    thread.join(HANG)


def test_a_browser_sees_that_a_file_was_cut_off(served, place, damaged, monkeypatch):
    monkeypatch.setattr(downloads, "SMALL", 1)
    with pytest.raises(httpx.RemoteProtocolError):
        served.get(f"/vmkeep/fetch/{place[1]}?volume=disk0&path=/large")


def test_an_archive_that_was_cut_off_is_none_to_whoever_unpacks_it(served, place, damaged, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "SMALL", 1)  # its end is the only thing that tells, because its length is not known
    for form in ("tar", "zip"):
        (tmp_path / form).write_bytes(served.get(f"/vmkeep/fetch/{place[1]}?volume=disk0&form={form}").content)

    assert subprocess.run(["tar", "-tf", tmp_path / "tar"], capture_output=True, check=False).returncode != 0
    assert not zipfile.is_zipfile(tmp_path / "zip")


def test_a_whole_download_is_called_whole(served, place):
    answer = served.get(f"/vmkeep/fetch/{place[1]}?volume=disk0&path=/large")
    assert answer.headers["content-length"] == str(len(LARGE))
    assert answer.content == LARGE


def download(ref, path):
    return downloads.Download(
        lambda: "vmkeep_default", StreamRequest(point=ref, at=make_file_path("disk0", path)), what=path
    )


def fetches_noted() -> int:
    with create_session() as session:
        return session.scalar(select(func.count()).select_from(Log).where(Log.event == "vmkeep_fetch_file"))


def test_downloads_have_a_number_and_one_that_nobody_takes_ends(files, monkeypatch):
    slots = threading.BoundedSemaphore(1)
    monkeypatch.setattr(downloads, "_slots", slots)
    monkeypatch.setattr(downloads, "SMALL", 1 << 20)
    ref = files().json()["point"]["ref"]
    held = download(ref, "/large")
    held.start()
    noted = fetches_noted()
    with monkeypatch.context() as without:
        without.setattr(files_routes, "connection_to", lambda _repository: pytest.fail("it costs nothing"))
        refused = files("fetch", volume="disk0", path="/empty")
    assert refused.status_code == 503
    assert "downloads are under way already" in refused.text
    assert fetches_noted() == noted
    held.stop()
    assert slots.acquire(timeout=HANG)
    slots.release()
    monkeypatch.setattr(downloads, "STALL", 0.2)
    download(ref, "/large").start()
    assert slots.acquire(timeout=HANG), "nobody takes it, so it ends by itself"
    slots.release()

"""The programs that people use read, copy and write the disks of a restore point over NBD."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.patience import HANG, eventually
from vmkeep.clock import now
from vmkeep.errors import ConflictError, NotFoundError, UsageError
from vmkeep.flows.serving import ServeRequest, serve_point
from vmkeep.images import import_images
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.notes.uses import COUNTS_FOR

MIB = 1 << 20
KEY = "ab" * 32


def run(*arguments: object, fails: bool = False) -> str:
    """Run a client's program, and return what it says."""
    done = subprocess.run([str(each) for each in arguments], capture_output=True, text=True, timeout=HANG, check=False)
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A repository with a point of three disks: data and holes and an odd end, one sector, nothing but a hole."""
    folder = tmp_path_factory.mktemp("nbd")
    chance = random.Random(7)
    with (folder / "disk0").open("wb") as disk:
        disk.truncate(40 * MIB + 512)
        for start in (0, 9 * MIB + 512, 40 * MIB):
            disk.seek(start)
            disk.write(chance.randbytes(512 if start == 40 * MIB else 2 * MIB))
    (folder / "disk1").write_bytes(chance.randbytes(512))
    with (folder / "disk2").open("wb") as disk:
        disk.truncate(5 * MIB)
    repository = create_repository(str(folder / "repository"))
    point = import_images(repository, [folder / f"disk{n}" for n in range(3)], name="web01")
    keys = folder / "keys.psk"
    keys.write_text(f"alice:{KEY}\n")
    keys.chmod(0o600)
    return folder, repository, point.ref


class Told:
    """Collects what a server tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def __call__(self, line: str, warning: bool) -> None:
        (self.warnings if warning else self.lines).append(line)


@contextmanager
def served(site, **settings):
    _folder, repository, ref = site
    told = Told()
    with serve_point(repository, ServeRequest(point=ref, **settings), tell=told) as point:
        yield {disk.name: disk.uri for disk in point.disks}, told


@pytest.fixture(scope="module")
def reading(site):
    """The addresses of the disks, which nobody can write."""
    with served(site) as (uris, _told):
        yield uris


def test_a_client_learns_size_name_and_abilities_of_every_disk(site, reading):
    listed = json.loads(run("nbdinfo", "--json", "--list", reading["disk0"].replace("/disk0?", "/?")))["exports"]
    assert [export["export-name"] for export in listed] == ["disk0", "disk1", "disk2"]
    assert [export["export-size"] for export in listed] == [40 * MIB + 512, 512, 5 * MIB]
    assert listed[0]["description"] == f"Hard disk 1 of web01, restore point {site[2]}"
    assert all(export["is_read_only"] and export["can_multi_conn"] and export["can_df"] for export in listed)
    assert listed[0]["contexts"] == ["base:allocation"]


def test_the_map_of_a_disk_tells_its_holes(reading):
    extents = json.loads(run("nbdinfo", "--json", "--map", reading["disk0"]))
    assert sum(extent["length"] for extent in extents) == 40 * MIB + 512
    holes = [(extent["offset"], extent["length"]) for extent in extents if extent["description"] == "hole,zero"]
    block = 256 << 10
    assert holes == [(2 * MIB, 7 * MIB), (11 * MIB + block, 40 * MIB - 11 * MIB - block)]
    assert "hole,zero" in run("nbdinfo", "--map", "--totals", reading["disk2"])


@pytest.mark.parametrize("disk", ["disk0", "disk1", "disk2"])
def test_nbdcopy_and_qemu_get_every_byte(site, reading, tmp_path, disk):
    run("nbdcopy", reading[disk], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (site[0] / disk).read_bytes()
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", reading[disk], site[0] / disk)


def test_qemu_converts_a_served_disk_without_its_holes(site, reading, tmp_path):
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", reading["disk0"], tmp_path / "disk0.qcow2")
    run("qemu-img", "check", tmp_path / "disk0.qcow2")
    run("qemu-img", "compare", "-F", "raw", tmp_path / "disk0.qcow2", site[0] / "disk0")
    assert (tmp_path / "disk0.qcow2").stat().st_size < 8 * MIB


def test_only_who_knows_a_key_gets_in_by_tls(site, tmp_path):
    wrong = tmp_path / "wrong.psk"
    wrong.write_text(f"alice:{'cd' * 32}\nmallory:{KEY}\n")
    with served(site, port=0, listen="0.0.0.0", keys=site[0] / "keys.psk") as (uris, told):
        uri = uris["disk0"].replace(socket.gethostname(), "127.0.0.1")
        assert uri.startswith("nbds://alice@127.0.0.1:")
        run("nbdcopy", uri, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == (site[0] / "disk0").read_bytes()
        plain = uri.partition("?")[0].replace("nbds://alice@", "nbd://")
        assert "TLS" in run("nbdinfo", plain, fails=True)
        for user in ("alice", "mallory"):
            address = uri.replace("alice", user).replace(str(site[0] / "keys.psk"), str(wrong))
            run("nbdinfo", address, fails=True)
        eventually(lambda: [line for line in told.lines if "has no key of this server, or another one" in line][1:])
        secret = f"driver=nbd,host=127.0.0.1,port={urlsplit(uri).port},export=disk0,tls-creds=t"
        (tmp_path / "keys.psk").write_text(f"qemu:{KEY}\nalice:{KEY}\n")
        for version, spoken in (("1.1", False), ("1.2", True), ("1.3", True)):
            only = f"priority=NORMAL:-VERS-ALL:+VERS-TLS{version}:+ECDHE-PSK"
            creds = f"tls-creds-psk,id=t,dir={tmp_path},username=alice,endpoint=client,{only}"
            disk = f"driver=file,filename={site[0] / 'disk0'}"
            run("qemu-img", "compare", "--object", creds, "--image-opts", secret, disk, fails=not spoken)
        assert run("nbdinfo", "--size", uri).strip() == str(40 * MIB + 512)


def test_without_a_place_the_socket_lies_in_a_private_folder(site):
    with served(site) as (uris, _told):
        assert run("nbdinfo", "--size", uris["disk1"]).strip() == "512"


def test_what_is_written_is_seen_by_all_and_gone_with_the_server(site, tmp_path):
    path = tmp_path / "s"
    with served(site, writable=True, socket=path) as (uris, _told):
        write = ("write -P 7 1000k 3M", "write -P 9 12345 777", "write -z 2M 100k", "discard 20M 4M", "flush")
        run("qemu-io", "-f", "raw", *(part for each in write for part in ("-c", each)), uris["disk0"])
        run("qemu-io", "-f", "raw", "-c", "write -P 3 0 512", uris["disk1"])
        read = ("read -P 7 1000k 1M", "read -P 9 12345 777", "read -P 0 2M 100k", "read -P 7 2148k 1M")
        said = run("qemu-io", "-r", "-f", "raw", *(part for each in read for part in ("-c", each)), uris["disk0"])
        assert "verification failed" not in said
        assert "verification failed" not in run("qemu-io", "-r", "-f", "raw", "-c", "read -P 3 0 512", uris["disk1"])
    with served(site, writable=True, socket=path) as (uris, _told):
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", uris["disk0"], site[0] / "disk0")


def test_a_read_only_disk_refuses_a_writer(reading):
    assert "Permission denied" in run("qemu-io", "-f", "raw", "-c", "write 0 512", reading["disk0"], fails=True)


def test_a_damaged_block_is_an_error_for_its_reader_and_a_warning_and_the_rest_is_served(site, tmp_path):
    folder, _repository, ref = site
    shutil.copytree(folder / "repository", tmp_path / "repository")
    pack = max((path for path in (tmp_path / "repository" / "packs").rglob("*") if path.is_file()),
               key=lambda path: path.stat().st_size)  # fmt: skip
    with pack.open("r+b") as damaged:
        damaged.seek(MIB)
        damaged.write(b"damage")
    with served((folder, open_repository(str(tmp_path / "repository")), ref)) as (uris, told):
        said = run("nbdcopy", uris["disk0"], tmp_path / "copy", fails=True)
        assert "Input/output error" in said
        eventually(lambda: told.warnings)
        assert ref in told.warnings[0]
        assert "Hard disk 1, byte " in told.warnings[0]
        assert run("nbdinfo", "--size", uris["disk0"])
        run("nbdcopy", uris["disk1"], tmp_path / "disk1")
        assert (tmp_path / "disk1").read_bytes() == (folder / "disk1").read_bytes()


def test_the_socket_is_private_and_replaces_only_a_dead_servers(site, tmp_path):
    path = tmp_path / "s"
    with served(site, socket=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ConflictError, match="another server is alive"), served(site, socket=path):
            pass
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with served(site, socket=path) as (uris, _told):
        assert run("nbdinfo", "--size", uris["disk1"]).strip() == "512"
    path.write_text("precious")
    with pytest.raises(ConflictError, match="no socket"), served(site, socket=path):
        pass
    assert path.read_text() == "precious"
    with pytest.raises(UsageError, match="107 bytes"), served(site, socket=tmp_path / ("s" * 108)):
        pass
    with pytest.raises(UsageError, match="No such file"), served(site, socket=tmp_path / "none" / "s"):
        pass


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_no_other_machine_can_read_without_a_key(site, address):
    with pytest.raises(UsageError, match="--psk-file"), served(site, port=0, listen=address):
        pass


def test_a_taken_port_and_a_missing_disk_are_clear_errors(site):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with taken, pytest.raises(ConflictError, match="another program listens"), served(site, port=port):
        pass
    with (
        pytest.raises(NotFoundError, match="no disk 3: it holds 0 Hard disk 1, 1 Hard disk 2, 2 Hard disk 3"),
        served(site, disks=(3,)),
    ):
        pass


def test_the_command_says_on_one_line_where_clients_connect_and_ends_cleanly(site, tmp_path):
    folder, _repository, ref = site
    path = tmp_path / "s"
    command = ("point", "serve", ref, "--disk", "1", "--socket", path, "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkeep.cli.main", *map(str, command)],
        env=os.environ | {"VMKEEP_REPOSITORY": str(folder / "repository")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        assert [disk["name"] for disk in document["disks"]] == ["disk1"]
        run("nbdcopy", document["disks"][0]["uri"], tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == (folder / "disk1").read_bytes()
        assert run("nbdinfo", "--size", document["disks"][0]["uri"].replace("/disk1?", "/?")).strip() == "512"
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=HANG)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, "")
    assert "opened disk1" in error
    assert "ended: all clients are disconnected" in error
    assert not path.exists()


def test_ctrl_c_at_any_time_after_the_start_is_a_good_end(site, tmp_path):
    folder, _repository, ref = site
    with full_pipe() as (reading, writing):  # so that the command waits in the middle of its first line
        process = subprocess.Popen(
            [sys.executable, "-m", "vmkeep.cli.main", "point", "serve", ref, "--socket", str(tmp_path / "s")],
            env=os.environ | {"VMKEEP_REPOSITORY": str(folder / "repository")}, stdout=writing, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            eventually(lambda: Path(f"/proc/{process.pid}/syscall").read_text().split()[1:2] == ["0x1"], "its line")
            process.send_signal(signal.SIGINT)
            os.close(writing)
            while os.read(reading, 1 << 16):
                pass
            process.communicate(timeout=HANG)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert not (tmp_path / "s").exists()


def test_a_killed_server_leaves_nothing_that_the_next_one_needs_help_with(site, tmp_path):
    folder, repository, ref = site
    command = ["point", "serve", ref, "--socket", str(tmp_path / "s"), "--writable", "--json"]
    others = set(repository.uses.of(ref, time=now()))
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-m", "vmkeep.cli.main", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | {"VMKEEP_REPOSITORY": str(folder / "repository"), "TMPDIR": str(tmp_path)},
        ) as process:  # fmt: skip
            try:
                uri = json.loads(process.stdout.readline())["disks"][1]["uri"]
                run("qemu-io", "-f", "raw", "-c", "write 0 512", uri)
            finally:
                process.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert len(set(repository.uses.of(ref, time=now())) - others) == 2
    assert not repository.uses.of(ref, time=now() + COUNTS_FOR)


@contextmanager
def full_pipe():
    """A pipe that takes nothing more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 65536)
    os.set_blocking(writing, True)
    yield reading, writing
    os.close(reading)


def test_a_pipe_that_nobody_empties_keeps_no_client_waiting():
    code = (
        "import time; from vmkeep.cli.point_serve import Lines\n"
        "with Lines() as lines:\n    for n in range(5000): lines.tell('line ' * 20, False)\n"
        "print('done')"
    )
    with full_pipe() as (_reading, writing):
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, timeout=HANG, check=True
        )
        os.close(writing)
    assert done.stdout == b"done\n"


@pytest.fixture(scope="module")
def recipes():
    """The command lines of the clients on the page about serving, and the lines of its code block for FUSE."""
    page = (Path(__file__).parents[3] / "docs" / "operations" / "exports.md").read_text()
    section = page.partition("\n## Serve over NBD\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .* \| `(.*)` \|$", section, re.MULTILINE)
    (fuse,) = (block for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL) if "fuse" in block)
    return rows, fuse


def in_shell(line: str, *, path: Path, folder: Path) -> str:
    assert "/run/web01.sock" in line
    return run("sh", "-ec", line.replace("/run/web01.sock", str(path)).replace("/srv", str(folder)))


def test_every_line_that_the_page_shows_works(site, recipes, tmp_path):
    rows, _fuse = recipes
    assert len(rows) == 5
    with served(site, socket=tmp_path / "s", writable=True):
        for line in rows:
            in_shell(line, path=tmp_path / "s", folder=tmp_path)
    assert (tmp_path / "web01-disk0.raw").read_bytes() == (site[0] / "disk0").read_bytes()
    run("qemu-img", "compare", "-F", "raw", tmp_path / "web01-disk0.qcow2", site[0] / "disk0")


def test_a_disk_is_looked_at_as_a_file_by_fuse_as_the_page_says(site, recipes, tmp_path):
    with served(site, socket=tmp_path / "s"):
        in_shell(recipes[1], path=tmp_path / "s", folder=tmp_path)
        try:
            assert (tmp_path / "web01.disk").read_bytes() == (site[0] / "disk0").read_bytes()
        finally:
            os.kill(int((tmp_path / "web01.pid").read_text()), signal.SIGTERM)
            eventually(lambda: not (tmp_path / "web01.pid").exists())

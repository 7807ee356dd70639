"""A host's bundle is sealed only if a host could restore it: a whole .tgz with its manifest and its state."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from vmkeep.errors import TransientError, UnsupportedError
from vmkeep.flows import host_bundle
from vmkeep.flows.host_bundle import read_bundle, same_uuid

UUID = "4c4c4544-0051-3510-8052-b4c04f4e4e32"
MANIFEST = f"RELEASELEVEL=VMware ESXi 8.0 Update 3\nUUID={UUID.upper()}\nKERNELOPTS=a=b c=d\nUSEROPTS=\n".encode()
FILES = {"Manifest.txt": MANIFEST, "state.tgz": bytes(range(256)) * 40}


def packed(files, mode="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("prefix", ["", "./"])
def test_the_manifest_tells_release_and_host(prefix):
    facts = read_bundle(packed({prefix + name: content for name, content in FILES.items()}), host="esx01")

    assert (facts.release, facts.uuid) == ("VMware ESXi 8.0 Update 3", UUID.upper())


def test_a_bundle_that_is_cut_off_anywhere_is_damaged():
    whole = packed(FILES)
    for length in (*range(0, len(whole), 29), len(whole) - 1):
        with pytest.raises(TransientError, match=r"host esx01 gave a bundle that is no whole \.tgz"):
            read_bundle(whole[:length], host="esx01")


def test_a_flipped_bit_in_the_content_is_damage():
    whole = bytearray(packed(FILES))
    for at in range(10, len(whole), 97):
        flipped = bytearray(whole)
        flipped[at] ^= 4
        with pytest.raises((TransientError, UnsupportedError)):
            read_bundle(bytes(flipped), host="esx01")


@pytest.mark.parametrize(
    "content",
    [b"<html>log in first</html>", packed(FILES, "w"), gzip.compress(b"no archive"), gzip.compress(b"")],
    ids=["page", "not-compressed", "no-archive", "empty"],
)
def test_anything_else_is_no_bundle(content):
    with pytest.raises((TransientError, UnsupportedError)):
        read_bundle(content, host="esx01")


def test_an_archive_that_ends_within_a_file_is_damaged():
    with gzip.open(io.BytesIO(packed(FILES))) as file:
        archive = file.read()
    with pytest.raises(TransientError):
        read_bundle(gzip.compress(archive[:4096]), host="esx01")


@pytest.mark.parametrize("missing", FILES)
@pytest.mark.parametrize("empty", [True, False])
def test_a_bundle_that_no_host_restores_is_refused_with_the_file_that_it_lacks(missing, empty):
    files = FILES | {missing: b""} if empty else {name: FILES[name] for name in FILES if name != missing}

    with pytest.raises(UnsupportedError, match=f"without {missing}"):
        read_bundle(packed(files), host="esx01")


def test_a_bundle_that_unpacks_to_a_mountain_is_refused_without_unpacking_it(monkeypatch):
    monkeypatch.setattr(host_bundle, "_LARGEST", 1 << 20)
    with pytest.raises(TransientError, match="unpacks to more than 1048576 bytes"):
        read_bundle(gzip.compress(bytes(8 << 20)), host="esx01")


def test_a_uuid_is_the_same_in_any_case_and_in_either_byte_order():
    assert same_uuid(UUID, UUID.upper())
    assert same_uuid(UUID, UUID.replace("-", " "))
    assert same_uuid(UUID, "44454c4c-5100-1035-8052-b4c04f4e4e32")
    assert not same_uuid(UUID, UUID.replace("4c4c", "4c4d"))
    assert not same_uuid(UUID, "")

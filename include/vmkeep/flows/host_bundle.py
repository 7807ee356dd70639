"""Checks the bundle of a host's configuration before it is sealed: whole, and of the form that a host can restore."""

from __future__ import annotations

import io
import tarfile
import zlib

from vmkeep.errors import TransientError, UnsupportedError
from vmkeep.lateclass import dataclass

_MANIFEST, _STATE = "Manifest.txt", "state.tgz"
_LARGEST = 256 << 20
"""Bytes that a bundle may unpack to. Its large file is packed itself, so bundles hardly grow."""
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """The facts by which a host decides in a restore whether a bundle is its own."""

    release: str
    uuid: str


def read_bundle(bundle: bytes, *, host: str) -> BundleFacts:
    """Unpack a bundle in memory, and return what its manifest tells.

    :param host: the host's name, for errors.
    :raises TransientError: the bundle is damaged or cut off. Another download may be whole.
    :raises UnsupportedError: the bundle lacks a file without which a host refuses to restore it.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(bundle)), mode="r:") as archive:
            files = {member.name.removeprefix("./"): _content(archive, member) for member in archive if member.isfile()}
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise TransientError(
            f"host {host} gave a bundle that is no whole .tgz file ({error}); nothing is sealed"
        ) from error
    missing = [name for name in (_MANIFEST, _STATE) if not files.get(name)]
    if missing:
        raise UnsupportedError(
            f"host {host} gave a bundle without {' and '.join(missing)}, which no host restores; nothing is sealed"
        )
    lines = files[_MANIFEST].decode(errors="replace").splitlines()
    told = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    return BundleFacts(release=told.get("RELEASELEVEL", ""), uuid=told.get("UUID", ""))


def same_uuid(one: str, other: str) -> bool:
    """Return whether two texts are one hardware UUID: in any case, with any dashes, and in either byte order."""
    digits, others = (text.replace("-", "").replace(" ", "").lower() for text in (one, other))
    return others in (digits, _swapped(digits))


def _swapped(digits: str) -> str:
    """Return the digits of a UUID with the bytes of its first three fields turned round, as some tools print it."""
    return "".join(
        "".join(reversed([field[at : at + 2] for at in range(0, len(field), 2)]))
        for field in (digits[:8], digits[8:12], digits[12:16])
    ) + digits[16:]  # fmt: skip


def _unpacked(bundle: bytes) -> bytes:
    """Return the archive in a bundle, after checking its checksum, and without unpacking more than a bundle has."""
    unpacker = zlib.decompressobj(_GZIP)
    unpacked = unpacker.decompress(bundle, _LARGEST)
    if unpacker.unconsumed_tail:
        raise EOFError(f"it unpacks to more than {_LARGEST} bytes")
    if not unpacker.eof:
        raise EOFError("it ends too early")
    return unpacked


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = file.read() if file is not None else b""
    if len(content) != member.size:
        raise EOFError(f"{member.name} ends too early")
    return content

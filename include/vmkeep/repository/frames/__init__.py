"""Digests, frames and packs: the byte formats of a repository. The lowest room; it imports nothing above it.

Everything stored has a *digest*, the BLAKE3 of its content, as its name (``digests``). A *frame* is the envelope of
one piece of content: a header with kind, lengths and digest, then the content, compressed (``codecs``) and, in an
encrypted repository, encrypted (``frames``). Each blob has its own encryption key for the frames in it. All keys are
derived from one master key (``keys``).

A *pack* is a blob that holds many frames of one kind and ends with a footer that lists them (``packs``). Each pack
describes itself, so the index can be rebuilt from packs alone.

Lists of extents have a compact encoding (``extentlists``), because manifests and run areas both hold them. Nothing here
reads or writes a store: callers pass bytes in and get bytes out.
"""

from vmkeep.repository.frames.codecs import Codec
from vmkeep.repository.frames.digests import DIGEST_SIZE, ZERO, Digester, Kind
from vmkeep.repository.frames.extentlists import decode_extents, encode_extents
from vmkeep.repository.frames.frames import (
    HEADER_SIZE,
    MAGIC,
    MAX_SMALL,
    Box,
    Cipher,
    FrameHeader,
    Framer,
    Packed,
    parse_header,
)
from vmkeep.repository.frames.keys import MASTER_SIZE, Keys, new_master
from vmkeep.repository.frames.packs import (
    ID_SIZE,
    MAX_FRAME,
    PACK_HEADER_SIZE,
    TRAILER_SIZE,
    OpenPack,
    PackBuffer,
    PackContents,
    overhead,
    pack_key,
    parse_footer,
    parse_pack_header,
    parse_trailer,
)

__all__ = [
    "DIGEST_SIZE",
    "HEADER_SIZE",
    "ID_SIZE",
    "MAGIC",
    "MASTER_SIZE",
    "MAX_FRAME",
    "MAX_SMALL",
    "PACK_HEADER_SIZE",
    "TRAILER_SIZE",
    "ZERO",
    "Box",
    "Cipher",
    "Codec",
    "Digester",
    "FrameHeader",
    "Framer",
    "Keys",
    "Kind",
    "OpenPack",
    "PackBuffer",
    "PackContents",
    "Packed",
    "decode_extents",
    "encode_extents",
    "new_master",
    "overhead",
    "pack_key",
    "parse_footer",
    "parse_header",
    "parse_pack_header",
    "parse_trailer",
]

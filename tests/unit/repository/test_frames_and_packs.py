"""Frames and packs: what was put in comes out, and nothing else does."""

from __future__ import annotations

import os
from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmkeep.errors import CorruptError, UsageError
from vmkeep.repository.blocks import ReadBuffers
from vmkeep.repository.checks.packcheck import damaged_frames, read_contents
from vmkeep.repository.frames.codecs import Codec, compress, decompress_into
from vmkeep.repository.frames.digests import Digester, Kind
from vmkeep.repository.frames.frames import HEADER_SIZE, Framer, Packed, parse_header
from vmkeep.repository.frames.keys import Keys
from vmkeep.repository.frames.packs import MAX_FRAMES, PACK_HEADER_SIZE, OpenPack, PackBuffer, pack_key, parse_footer
from vmkeep.testing import MemoryStore

FRAMERS = {codec: Framer(codec=codec) for codec in Codec}
FRAMER = FRAMERS[Codec.ZSTD]


CONTENT = st.binary(max_size=3000) | st.binary(max_size=20).map(lambda part: part * 200)


@given(CONTENT)
def test_a_blob_gives_back_its_content(data):
    assert bytes(FRAMER.unwrap(Kind.NOTE, FRAMER.wrap(Kind.NOTE, data, name="n"), name="n")) == data


@pytest.mark.parametrize("codec", list(Codec))
@given(data=CONTENT)
def test_a_frame_gives_back_its_content(codec, data):
    digest = FRAMER.digester.of(Kind.BLOCK, data)
    frame = memoryview(bytearray(6000))
    box = FRAMER.box("a")
    length = box.write(FRAMERS[codec].pack(Kind.BLOCK, digest, data), frame)

    header = parse_header(frame)
    assert (header.digest, header.frame_length) == (digest, length)
    assert bytes(box.unpack_into(header, frame[HEADER_SIZE:length], memoryview(bytearray(6000)))) == data


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.LZ4])
def test_what_does_not_shrink_is_stored_as_it_is(codec):
    noise, text = os.urandom(70000), b"text" * 20000

    assert compress(codec, noise) == (Codec.NONE, noise)
    assert compress(codec, text)[0] is codec


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.LZ4])
@pytest.mark.parametrize("room", [0, 100, 79999, 80001, 1 << 20])
def test_decompressing_fills_its_buffer_exactly_or_refuses(codec, room):
    _, packed = compress(codec, b"text" * 20000)

    with pytest.raises(ValueError):
        decompress_into(codec, packed, memoryview(bytearray(room)))


def test_a_block_never_has_the_digest_of_a_page_with_the_same_bytes():
    assert len({Digester().of(kind, b"same bytes") for kind in Kind}) == len(Kind)


def test_every_bit_of_a_frame_matters():
    blob = FRAMER.wrap(Kind.MANIFEST, b"a manifest of some length" * 5, name="n")
    for at in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(CorruptError):
            FRAMER.unwrap(Kind.MANIFEST, damaged, name="n")


@pytest.mark.parametrize("codec", list(Codec))
def test_a_frame_whose_content_is_not_what_its_digest_says_is_refused(codec):
    """The header names content that the payload does not hold, though the payload is sound in itself."""
    wrong = FRAMERS[codec].pack(Kind.BLOCK, FRAMER.digester.of(Kind.BLOCK, b"this" * 500), b"that" * 500)
    frame = memoryview(bytearray(6000))
    box = FRAMER.box("a")
    length = box.write(wrong, frame)

    with pytest.raises(CorruptError, match="does not match its digest"):
        box.unpack_into(parse_header(frame), frame[HEADER_SIZE:length], memoryview(bytearray(6000)))


def test_a_frame_of_another_kind_is_refused():
    with pytest.raises(CorruptError, match="holds a note"):
        FRAMER.unwrap(Kind.MANIFEST, FRAMER.wrap(Kind.NOTE, b"x", name="n"), name="n")


def test_a_frame_that_claims_to_be_huge_is_refused_before_memory_is_taken():
    blob = bytearray(FRAMER.wrap(Kind.NOTE, b"x" * 1000, name="n"))
    blob[8:12] = b"\xff\xff\xff\xff"

    with pytest.raises(CorruptError, match="claims to hold"):
        FRAMER.unwrap(Kind.NOTE, blob, name="n")


def test_an_encrypted_frame_says_so():
    blob = bytearray(FRAMER.wrap(Kind.NOTE, b"x", name="n"))
    blob[6] = 1

    with pytest.raises(CorruptError, match="encrypted"):
        FRAMER.unwrap(Kind.NOTE, blob, name="n")


def test_compressions_have_names():
    assert Codec.named("zstd") is Codec.ZSTD
    with pytest.raises(UsageError, match="none, zstd, lz4"):
        Codec.named("gzip")


def make_pack(contents, size=1 << 20):
    pack = OpenPack(Kind.BLOCK, PackBuffer(size), FRAMER)
    for raw in contents:
        digest = FRAMER.digester.of(Kind.BLOCK, raw)
        packed = FRAMER.pack(Kind.BLOCK, digest, raw)
        assert pack.fits(packed)
        pack.append(packed)
    data, listed = pack.finish()
    return pack_key(pack.id), bytes(data), listed


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_a_pack_can_be_read_without_an_index(blocks):
    store = MemoryStore()
    key, data, listed = make_pack(blocks)
    store.put(key, data)

    contents = read_contents(store, FRAMER, key, len(data))

    assert contents.digests == listed.digests == b"".join(FRAMER.digester.of(Kind.BLOCK, block) for block in blocks)
    assert list(damaged_frames(store, FRAMER, key, contents, scratch=ReadBuffers())) == []


def test_a_pack_can_be_walked_without_its_footer():
    _, data, listed = make_pack([b"one" * 100, b"two" * 200, os.urandom(50)])
    at, found = 32, []
    while (header := parse_header(data[at : at + HEADER_SIZE])).kind is Kind.BLOCK:
        found.append(header.digest)
        at += header.frame_length

    assert header.kind is Kind.FOOTER
    assert b"".join(found) == listed.digests


@given(st.integers(0, 100_000), st.integers(0, 7))
def test_every_bit_of_a_pack_matters(at, bit):
    store = MemoryStore()
    key, data, _ = make_pack([b"one" * 100, b"two" * 200, bytes(range(250))])
    flipped = bytearray(data)
    flipped[at % len(data)] ^= 1 << bit
    store.put(key, flipped)

    try:
        contents = read_contents(store, FRAMER, key, len(data))
    except CorruptError:
        return
    assert len(list(damaged_frames(store, FRAMER, key, contents, scratch=ReadBuffers()))) == 1


@given(st.data())
def test_a_pack_that_was_cut_off_anywhere_is_refused(data):
    store = MemoryStore()
    key, whole, _ = make_pack([b"one" * 100, b"two" * 200])
    length = data.draw(st.integers(0, len(whole) - 1))
    store.put(key, whole[:length])

    with pytest.raises(CorruptError):
        read_contents(store, FRAMER, key, length)


def test_a_pack_under_another_name_is_refused():
    store = MemoryStore()
    _, data, _ = make_pack([b"one"])
    key, _, _ = make_pack([b"two"])
    store.put(key, data)

    with pytest.raises(CorruptError, match="swapped or renamed"):
        read_contents(store, FRAMER, key, len(data))


def test_a_pack_never_outgrows_its_buffer():
    pack = OpenPack(Kind.PAGE, PackBuffer(20_000), FRAMER)
    count = 0
    packed = Packed(Kind.PAGE, bytes(32), 100, Codec.NONE, bytes(100))
    while pack.fits(packed):
        pack.append(packed)
        count += 1
    data, listed = pack.finish()

    assert len(data) <= 20_000 < len(data) + 48 + 100 + 44
    assert listed.count == count


def test_a_pack_lists_a_bounded_number_of_frames():
    pack = OpenPack(Kind.PAGE, PackBuffer(8 << 20), FRAMER)
    packed = Packed(Kind.PAGE, bytes(32), 0, Codec.NONE, b"")
    while pack.fits(packed):
        pack.append(packed)

    assert pack.finish()[1].count == MAX_FRAMES


def test_a_pack_may_be_filled_to_its_last_byte():
    """Whatever fits has to leave room for footer and trailer."""
    for size in range(2000, 2200):
        pack = OpenPack(Kind.BLOCK, PackBuffer(size), FRAMERS[Codec.NONE])
        for number in range(100):
            packed = Packed(Kind.BLOCK, bytes([number]) * 32, 10, Codec.NONE, bytes(10))
            if not pack.fits(packed):
                break
            pack.append(packed)
        data, listed = pack.finish()
        assert size - 102 < len(data) <= size
        assert listed.count > 5


def test_a_footer_has_to_describe_frames_without_gaps_up_to_itself():
    _, data, listed = make_pack([b"one" * 100, b"two" * 100])
    end = int(listed.offsets[1]) + int(listed.lengths[1])
    assert parse_footer(listed.encode(), kind=Kind.BLOCK, end=end) == listed

    for offsets, lengths in (
        ([listed.offsets[0], listed.offsets[1] + 1], listed.lengths),
        ([listed.offsets[1], listed.offsets[0]], listed.lengths),
        (listed.offsets, [HEADER_SIZE - 1, end - PACK_HEADER_SIZE - HEADER_SIZE + 1]),
    ):
        other = replace(listed, offsets=array("I", offsets), lengths=array("I", lengths))
        with pytest.raises(CorruptError, match="does not describe the frames"):
            parse_footer(other.encode(), kind=Kind.BLOCK, end=end)
    with pytest.raises(CorruptError, match="does not describe the frames"):
        parse_footer(listed.encode(), kind=Kind.BLOCK, end=end + 1)
    assert len(data) > end


def test_a_pack_with_the_footer_of_another_is_refused():
    key, data, listed = make_pack([b"one" * 100])
    _, other, _ = make_pack([b"one" * 100])
    end = int(listed.offsets[0]) + int(listed.lengths[0])
    store = MemoryStore()
    store.put(key, data[:end] + other[end:])

    with pytest.raises(CorruptError, match="footer is that of pack"):
        read_contents(store, FRAMER, key, len(data))


def test_a_trailer_that_names_another_footer_is_refused():
    key, data, _ = make_pack([b"one" * 100])
    damaged = bytearray(data)
    damaged[-1] ^= 1
    store = MemoryStore()
    store.put(key, damaged)

    with pytest.raises(CorruptError, match="does not match its footer"):
        read_contents(store, FRAMER, key, len(data))


def test_a_flipped_bit_that_changes_no_content_is_found():
    key, data, listed = make_pack([b"one" * 100])
    damaged = bytearray(data)
    damaged[12] ^= 1  # part of the pack's header that is reserved
    store = MemoryStore()
    store.put(key, damaged)

    assert [row for row, _ in damaged_frames(store, FRAMER, key, listed, scratch=ReadBuffers())] == [-1]


def test_every_frame_of_a_pack_that_is_read_in_several_parts_is_looked_at():
    key, data, listed = make_pack([os.urandom(3 << 18) for _ in range(12)], size=10 << 20)
    for row in range(listed.count):
        damaged = bytearray(data)
        damaged[int(listed.offsets[row]) + 1000] ^= 1
        store = MemoryStore()
        store.put(key, damaged)

        assert [found for found, _ in damaged_frames(store, FRAMER, key, listed, scratch=ReadBuffers())] == [row]


def test_a_frame_that_is_sound_but_not_the_one_listed_is_found():
    key, data, listed = make_pack([b"one" * 100, b"two" * 100])
    other = replace(listed, digests=listed.digest(1) + listed.digest(1))
    store = MemoryStore()
    store.put(key, data)

    found = list(damaged_frames(store, FRAMER, key, other, scratch=ReadBuffers()))
    assert found == [(0, "is not the frame that the footer lists")]


@settings(max_examples=30)
@pytest.mark.parametrize("keys", [None, Keys(bytes(32), repository="r")], ids=["plain", "encrypted"])
@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=20), drawn=st.randoms(use_true_random=False))
def test_a_pack_without_some_of_its_frames_is_a_whole_pack(keys, sizes, drawn):
    framer = Framer(codec=Codec.NONE, keys=keys)
    pack = OpenPack(Kind.BLOCK, PackBuffer(1 << 17), framer)
    contents = {}
    for number, size in enumerate(sizes):
        raw = number.to_bytes(4, "big") + bytes(size)
        digest = framer.digester.of(Kind.BLOCK, raw)
        contents[digest] = raw
        pack.append(framer.pack(Kind.BLOCK, digest, raw))
    gone = set(drawn.sample(list(contents), drawn.randrange(len(contents) + 1)))
    before = pack.used

    assert pack.drop(gone) == before - pack.used

    more = b"more"
    contents[framer.digester.of(Kind.BLOCK, more)] = more
    pack.append(framer.pack(Kind.BLOCK, framer.digester.of(Kind.BLOCK, more), more))
    data, listed = pack.finish()
    assert {listed.digest(row) for row in range(listed.count)} == contents.keys() - gone
    store = MemoryStore()
    store.put(pack_key(pack.id), data)
    assert read_contents(store, framer, pack_key(pack.id), len(data)) == listed
    box = framer.box(pack_key(pack.id))
    for row, (offset, length) in enumerate(zip(listed.offsets, listed.lengths, strict=True)):
        header = parse_header(data[offset:])
        assert header.digest == listed.digest(row)
        found = box.unpack_into(header, data[offset + HEADER_SIZE : offset + length], memoryview(bytearray(4000)))
        assert bytes(found) == contents[listed.digest(row)]

"""CRC-32C is the same however many bytes are summed at once."""

from hypothesis import given
from hypothesis import strategies as st

from vmkeep.guest.crc32c import crc32c
from vmkeep.guest.longcrc import crc32c_of_each


def test_the_sum_is_that_of_the_standard():
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


@given(seed=st.binary(min_size=1, max_size=40), parts=st.sampled_from([1, 63, 64, 70]), size=st.sampled_from([4, 512]))
def test_few_and_many_parts_have_the_sums_of_each_part_alone(seed, parts, size):
    data = (seed * (parts * size))[: parts * size]
    alone = [crc32c(data[at : at + size]) ^ 0xFFFFFFFF for at in range(0, len(data), size)]

    assert crc32c_of_each(data, size).tolist() == alone

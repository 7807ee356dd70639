"""Memory for buffers belongs to one process."""

import os

from vmkeep.ownmemory import own_memory


def test_a_forked_process_writes_into_no_buffer_of_ours():
    memory = own_memory(4096)
    memory[:4] = b"ours"
    child = os.fork()
    if not child:
        memory[:4] = b"lost"
        os._exit(0)
    os.waitpid(child, 0)

    assert memory[:4] == b"ours"


def test_memory_for_buffers_holds_zeros():
    assert own_memory(5000)[:] == bytes(5000)

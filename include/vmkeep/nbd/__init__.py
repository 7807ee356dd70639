"""Serves disks over NBD, the Network Block Device protocol, to any number of clients at a time.

A *server* (``server``) offers *exports* (``exports``): disks that can be read anywhere, by name. Each client gets a
thread that shakes hands (``handshake``; ``options`` takes apart what the client says there). After that, the threads of
a connection take turns (``conversation``): one waits for the next request, and the others carry requests out
(``performing``; ``requests`` says which are allowed) and reply (``replies``). ``wire`` holds the protocol's numbers.

A disk can be made writable by an *overlay* (``overlay``), which keeps what clients write until the server ends.
``sockets`` opens the socket file or the port. ``channel`` sends and receives, and ``tls`` does so with TLS, by the keys
of a file (``keys``).

Everything that a client sends is a stranger's: each length has a limit, each wait of the handshake has a deadline, and
a request that is not allowed gets an error while the connection goes on. Only bytes after which nobody can tell where
the next request begins end the connection.
"""

from vmkeep.nbd.exports import Export, Exports
from vmkeep.nbd.keys import Keys, load_keys
from vmkeep.nbd.overlay import Overlay, open_overlay
from vmkeep.nbd.server import MAX_CLIENTS, Client, Watcher, serving
from vmkeep.nbd.sockets import listening_on_file, listening_on_port

__all__ = [
    "MAX_CLIENTS", "Client", "Export", "Exports", "Keys", "Overlay", "Watcher", "listening_on_file",
    "listening_on_port", "load_keys", "open_overlay", "serving",
]  # fmt: skip

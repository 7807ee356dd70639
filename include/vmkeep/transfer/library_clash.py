"""Tries Python's C modules beside a driver's library, so that a clash of libraries shows before a backup.

VDDK's ``lib64`` has its own libcrypto, libssl, libstdc++, libgcc_s and libz. The child process starts with this folder
in LD_LIBRARY_PATH, so that modules which are loaded later get these libraries, and may miss a function in them. Then an
extension module does not load, or the process dies at a call. The modules tried here are those that a copy loads. Keys
are unwrapped in the parent.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError
from vmkeep.model.diskaccess import Launch

_SHARED: Final = ("libcrypto.so", "libssl.so", "libstdc++.so", "libgcc_s.so", "libz.so")
"""Libraries that both VDDK and Python use."""


def _hashes() -> None:
    import hashlib

    if find_spec("_hashlib"):  # without it, hashlib uses its own code
        import_module("_hashlib")
    hashlib.sha256(b"vmkeep").digest()


def _tls() -> None:
    import ssl

    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _numbers() -> None:
    import numpy as np

    np.arange(8, dtype=np.float64).dot(np.ones(8))


def _compression() -> None:
    import zstandard

    zstandard.ZstdDecompressor().decompress(zstandard.ZstdCompressor().compress(b"vmkeep"))


def _encryption() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    AESGCM(bytes(32)).encrypt(bytes(12), b"vmkeep", None)


def _stores() -> None:
    if find_spec("obstore"):  # it comes with an extra, and only a repository on S3 needs it
        import_module("obstore")


_NEIGHBOURS: Final[dict[str, Callable[[], None]]] = {
    "hashlib": _hashes,
    "ssl": _tls,
    "numpy": _numbers,
    "zstandard": _compression,
    "cryptography": _encryption,
    "obstore": _stores,
}


def require_neighbours(launch: Launch) -> None:
    """Load and use the modules that a copy needs beside a driver's library.

    :raises UsageError: a module does not work with the libraries that came with it. The message names both.
    """
    for name, use in _NEIGHBOURS.items():
        try:
            use()
        except (ImportError, OSError) as error:
            raise UsageError(_clash(launch, name, error)) from error


def _clash(launch: Launch, module: str, error: BaseException) -> str:
    while error.__cause__ is not None:  # because numpy wraps the cause in advice
        error = error.__cause__
    folder = Path(launch.library_path or "/nowhere")
    names = sorted(path.name for path in folder.glob("*") if path.name.startswith(_SHARED))
    own = ", ".join(names) or f"libraries in {launch.library_path}"
    return (
        f"Python's {module} does not work in one process with {launch.library} {launch.version}, which "
        f"brings its own {own}: {error}; use another release of it, or a Python that brings its own OpenSSL and C++ "
        "library"
    )

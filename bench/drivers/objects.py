"""Moves objects to or from S3 by obstore alone: what any engine above it can reach at most.

    objects.py put|get BUCKET PREFIX BYTES OBJECT_BYTES AT_ONCE

Puts that many bytes as objects of that size out of memory, or gets them back into memory. Endpoint and keys are those
of the environment, as everywhere.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import obstore
from obstore.store import S3Store


def main(verb: str, bucket: str, prefix: str, size: int, object_size: int, at_once: int) -> None:
    """Move everything, and return once the last object is there."""
    store = S3Store(
        bucket,
        prefix=prefix,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True, "timeout": "10 minutes"},
    )
    sizes = [min(object_size, size - at) for at in range(0, size, object_size)]
    content = memoryview(os.urandom(max(sizes)) if verb == "put" else b"")

    def move(number: int) -> None:
        name = f"object-{number}"
        if verb == "put":
            obstore.put(store, name, content[: sizes[number]], use_multipart=False)
        elif len(obstore.get(store, name).bytes()) != sizes[number]:
            raise SystemExit(f"{name} has another size than it was written with")

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(move, range(len(sizes))))


if __name__ == "__main__":
    verb, bucket, prefix, *numbers = sys.argv[1:]
    size, object_size, at_once = map(int, numbers)
    main(verb, bucket, prefix, size, object_size, at_once)

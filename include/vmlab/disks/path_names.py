"""Datastore paths, `[datastore] folder/file`, taken apart. A datastore's name may hold brackets and blanks."""

from functools import lru_cache


@lru_cache(maxsize=65536)
def split_path(text: str) -> tuple[str, str] | None:
    """`[NAS [prod]] a/b` → ("NAS [prod]", "a/b"); None for text that is no datastore path.

    The name ends at the bracket that closes the first one and is followed by a blank or by the end. If the brackets of
    a name do not pair, the name ends at the first `]` that is followed by a blank or by the end.
    """
    text = text.lstrip()
    if not text.startswith("["):
        return None
    depth, ends = 0, []
    for at, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "]" and text[at + 1 : at + 2] in ("", " "):
            if depth == 0:
                return _parts(text, at)
            ends.append(at)
    ends.append(text.find("]"))
    return _parts(text, ends[0]) if ends[0] > 0 else None


def _parts(text: str, end: int) -> tuple[str, str] | None:
    name = text[1:end]
    return (name, text[end + 1 :].lstrip(" ")) if name else None

"""Finds disks by the words that a person types: an address (``scsi0:1``), a label, or a device key. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.model.disk import Disk
from vmkeep.model.point import RestorePoint
from vmkeep.model.wording import size


class NamedDisks:
    """Disks with all the words by which a person may name each of them."""

    def __init__(self, disks: Iterable[Disk], *, whose: str, kind: str = "disk") -> None:
        """Index the disks by their words.

        :param whose: names the owner of the disks in messages: ``the restore point``.
        :param kind: names the kind of these disks in messages, if the owner may have others, too.
        """
        self._whose = whose
        self._kind = kind
        self._disks = tuple(disks)
        self._by_word: dict[str, list[Disk]] = {}
        for disk in self._disks:
            for word in {disk.address, disk.label, str(disk.key)}:
                self._by_word.setdefault(word, []).append(disk)

    @property
    def words(self) -> Mapping[str, Sequence[Disk]]:
        """Every word that names a disk, with the disks that it names."""
        return self._by_word

    @property
    def listed(self) -> str:
        """All disks in words, for messages."""
        shown = ", ".join(f"{disk.address} ({disk.label}, {size(disk.capacity)})" for disk in self._disks)
        among = f" the {self._kind}s" if shown and self._kind != "disk" else ""
        return f"{self._whose} has{among} {shown or f'no {self._kind}'}"

    def find(self, word: str, *, what: str) -> Disk:
        """Return the disk that a word names.

        :param what: the option or field with the word, for messages.
        :raises NotFoundError: no disk has that name.
        :raises AmbiguousError: several disks have it.
        """
        found = self._by_word.get(word, [])
        if not found:
            raise NotFoundError(f"{what}: no {self._kind} '{word}'; {self.listed}")
        if len(found) > 1:
            raise AmbiguousError(f"{what}: '{word}' names {len(found)} disks, give the address of one; {self.listed}")
        return found[0]

    def find_all(self, texts: Iterable[str], *, what: str) -> tuple[Disk, ...]:
        """Return the disks that some texts name, each once. A text is one disk's name, or several with commas between.

        :raises NotFoundError: a name is no disk's.
        :raises AmbiguousError: several disks have one name.
        """
        found: dict[int, Disk] = {}
        for text in texts:
            for word in (text,) if text in self._by_word else (part.strip() for part in text.split(",")):
                disk = self.find(word, what=what)
                found[disk.key] = disk
        return tuple(found.values())


def chosen_numbers(point: RestorePoint, words: Iterable[str]) -> tuple[int, ...]:
    """Return the numbers of the disks that a person has named, each by its number, address, label or device key.

    :raises NotFoundError: the point holds no disk of that name.
    :raises AmbiguousError: several disks have one label.
    """
    by_key = {image.disk.key: number for number, image in point.numbered.items()}
    named = NamedDisks((image.disk for image in point.numbered.values()), whose=f"restore point {point.ref}")
    chosen = []
    for word in map(str.strip, words):
        if word.isdecimal() and int(word) in point.numbered:
            chosen.append(int(word))
        elif word.isdecimal() and word not in named.words:
            raise NotFoundError(point.lacks(int(word)))
        else:
            chosen.append(by_key[named.find(word, what="the disk to export").key])
    return tuple(chosen)

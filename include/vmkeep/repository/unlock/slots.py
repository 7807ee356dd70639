"""Key slots, ``keys/<id>``: each holds a copy of the master key, wrapped by a secret of a person or a service.

    JSON: slot 1, id, kind, repository, label, created, parameters of the kind, nonce, wrapped, check

``wrapped`` is the master key, encrypted by AES-256-GCM under the slot's key, which is derived as ``kind`` says. All
other fields but ``check`` are authenticated with it. ``check`` (BLAKE3) tells damage from a wrong passphrase. A slot is
created if absent and never changed. The descriptor does not list slots. Slots of a kind that this version does not know
are listed and left alone.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from vmkeep.blobs import BlobStore, confirm_lists
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError, RepositoryError, UsageError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.repository.folders import KEYS, RUNS
from vmkeep.repository.frames import MASTER_SIZE
from vmkeep.repository.unlock.keycache import derived_once
from vmkeep.repository.unlock.keyservice import KeyService
from vmkeep.repository.unlock.passphrases import ARGON2ID, COST, SCRYPT, argon2id_key, scrypt_key
from vmkeep.repository.unlock.recoverykey import (
    format_recovery_key,
    is_recovery_key,
    new_recovery_key,
    parse_recovery_key,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PASSPHRASES, RECOVERY, KMS = (ARGON2ID, SCRYPT), "recovery", "aws-kms"
_KEY_OF_SLOT = re.compile(rf"{KEYS}[0-9a-f]{{16}}")
_LEAVING = f"{RUNS}leaving-slots/"
"""Folder of empty notes, each with the id of a slot that a process removes. A prune removes those of dead ones."""
_VERSION = 1
_LIMIT = 64 << 10
_MIN_PASSPHRASE = 8
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""Some editors put it at the beginning of a file. Earlier versions took it as part of the passphrase in such a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A key slot as its blob describes it. The blob does not hold the secret that opens it."""

    id: str
    kind: str
    """``argon2id`` or ``scrypt`` (a passphrase), ``recovery``, ``aws-kms``, or a kind that a later version knows."""
    label: str
    created: str
    fields: dict[str, Any] = field(repr=False)


class Slots:
    """The key slots of one repository."""

    def __init__(self, store: BlobStore, repository: str) -> None:
        self._store = store
        self._repository = repository

    def read(self) -> tuple[list[Slot], dict[str, str]]:
        """Return the slots, oldest first, and the damaged slots' keys, each with the reason.

        Leave out slots of another repository id, because an interrupted ``repo init`` may have left some.
        """
        slots, damaged = self._read()
        own = [slot for slot in slots if slot.fields["repository"] == self._repository]
        return sorted(own, key=lambda slot: (slot.created, slot.id)), damaged

    def owners(self) -> tuple[set[str], bool]:
        """Return the ids of the repositories to which the slots here belong, and whether some slots are damaged."""
        slots, damaged = self._read()
        return {str(slot.fields["repository"]) for slot in slots}, bool(damaged)

    def _read(self) -> tuple[list[Slot], dict[str, str]]:
        slots, damaged = [], {}
        for blob in self._store.list(KEYS):
            try:
                slots.append(_parse(blob.key, self._store.get_range(blob.key, 0, _LIMIT)))
            except BlobNotFoundError:
                continue
            except CorruptError as error:
                damaged[blob.key] = str(error)
        return slots, damaged

    def unlock(self, passphrase: str) -> bytes:
        """Return the master key.

        :param passphrase: a passphrase, or a recovery key.
        :raises RepositoryError: the passphrase opens no slot.
        :raises CorruptError: the passphrase opens no slot, and some slots are damaged or all are gone.
        """
        kinds = (RECOVERY,) if is_recovery_key(passphrase) else PASSPHRASES
        texts = (passphrase,) if RECOVERY in kinds else (passphrase, f"{_BYTE_ORDER_MARK}{passphrase}")
        slots, damaged = self.read()
        for text in texts:
            for slot in slots:
                if slot.kind in kinds and (master := _unwrap(slot, text)) is not None:
                    return master
        what = "recovery key" if RECOVERY in kinds else "passphrase"
        if damaged:
            raise CorruptError(
                f"{self._store.location}: no key slot opens with this {what}, and some are damaged: "
                + ", ".join(f"{key}: {why}" for key, why in damaged.items())
            )
        if not slots:
            raise CorruptError(
                f"{self._store.location}: all key slots (keys/…) are gone; without one the repository cannot be read"
            )
        raise RepositoryError(
            f"{self._store.location}: wrong {what}: none of {counted(len(slots), 'key slot')} opens with it"
            f"{_hint(passphrase)}"
        )

    def has_service(self) -> bool:
        """Return whether a key service can open the repository without a passphrase."""
        return any(slot.kind == KMS for slot in self.read()[0])

    def unlock_by(self, service: KeyService) -> bytes | None:
        """Return the master key with the help of a key service; ``None``: no slot is for one.

        :raises VmKeepError: the service opened no slot. The error is that of the last slot.
        """
        refused: VmKeepError | None = None
        for slot in self.read()[0]:
            if slot.kind != KMS:
                continue
            try:
                if (master := _unwrap(slot, service)) is not None:
                    return master
                refused = CorruptError(f"{KEYS}{slot.id}: key slot is damaged: it does not open with its own key")
            except VmKeepError as error:
                refused = error
        if refused is not None:
            raise refused
        return None

    def add_passphrase(self, master: bytes, passphrase: str, *, label: str = "") -> Slot:
        """Create a slot for a passphrase.

        :raises UsageError: the passphrase is too short, looks like a recovery key, or has characters nobody can type.
        """
        if not passphrase.isprintable():
            raise UsageError("passphrase: holds a line end, a byte order mark or another character that nobody types")
        if len(passphrase) < _MIN_PASSPHRASE or is_recovery_key(passphrase):
            raise UsageError(f"passphrase: needs {_MIN_PASSPHRASE} characters or more, and must not begin with VMKR-")
        return self._add(master, ARGON2ID, passphrase, {**COST, "salt": secrets.token_hex(16)}, label)

    def add_recovery(self, master: bytes, *, label: str = "") -> tuple[Slot, str]:
        """Create a slot for a new recovery key. Return the slot and the key, which is not kept anywhere."""
        text = format_recovery_key(new_recovery_key())
        return self._add(master, RECOVERY, text, {"salt": secrets.token_hex(16)}, label), text

    def add_service(self, master: bytes, key: str, service: KeyService, *, label: str = "") -> Slot:
        """Create a slot that a key service opens, and have the service open it once as a test.

        :param key: ARN of the service's key.
        """
        own, wrapped = service.wrap(key, secrets.token_bytes(MASTER_SIZE), repository=self._repository)
        return self._add(master, KMS, service, {"key": own, "wrapped_key": wrapped.hex()}, label)

    def find(self, beginning: str) -> Slot:
        """Return the slot whose id begins with a text.

        :raises NotFoundError: no slot fits, or several do.
        """
        fitting = [slot for slot in self.read()[0] if beginning and slot.id.startswith(beginning)]
        if len(fitting) != 1:
            raise NotFoundError(f"'{beginning}' fits {len(fitting)} key slots; see 'vmkeep key list'")
        return fitting[0]

    def remove(self, beginning: str) -> Slot:
        """Remove the slot whose id begins with a text, and return it.

        The note that it is leaving is put before this looks for slots that stay. So of two who remove each other's slot
        at least one sees the other, and a slot is left wherever they die.

        :raises RepositoryError: it is the last slot, but for such as others are removing.
        :raises NotFoundError: no slot fits, or several do.
        """
        slot = self.find(beginning)
        key, note = f"{KEYS}{slot.id}", f"{_LEAVING}{slot.id}"
        self._store.put(note, b"")
        try:
            if not self._any_stays():
                raise self._last(slot)
            blob = self._store.get(key)
            self._store.delete(key)
            if not self._any_stays():  # another process removed the other slot meanwhile, and wrote no note
                self._store.put(key, blob)
                raise self._last(slot)
        finally:
            self._store.delete(note)
        return slot

    def _any_stays(self) -> bool:
        """Return whether there is a slot that this program can open and that nobody removes, by its note."""
        confirm_lists(self._store)
        leaving = {blob.key.removeprefix(_LEAVING) for blob in self._store.list(_LEAVING)}
        return any(slot.kind in _KEYS and slot.id not in leaving for slot in self.read()[0])

    def _last(self, slot: Slot) -> RepositoryError:
        return RepositoryError(
            f"{self._store.location}: {slot.id} is the last key slot: add another one first ('vmkeep key add')"
        )

    def _add(self, master: bytes, kind: str, secret: Any, parameters: dict[str, Any], label: str) -> Slot:
        fields = {
            "slot": _VERSION,
            "id": secrets.token_hex(8),
            "kind": kind,
            "repository": self._repository,
            "label": label,
            "created": now().isoformat(),
            **parameters,
            "nonce": secrets.token_hex(12),
        }
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # slow to load, and most programs make no slot

        aead = AESGCM(_KEYS[kind](fields, secret))
        fields["wrapped"] = aead.encrypt(bytes.fromhex(fields["nonce"]), master, _canonical(fields)).hex()
        key = f"{KEYS}{fields['id']}"
        blob = json.dumps({**fields, "check": _check(fields)}, separators=(",", ":")).encode()
        self._store.put(key, blob)
        slot = _parse(key, self._store.get(key))
        if _open(slot, aead) != master:
            raise CorruptError(f"{self._store.location}: {key}: the new slot does not open again; do not rely on it")
        return slot


def _hint(passphrase: str) -> str:
    if passphrase == passphrase.strip() and passphrase.isprintable():
        return ""
    return "; it begins or ends with a blank, or holds a line end or a byte order mark: does that belong to it?"


def is_slot(store: BlobStore, key: str) -> bool:
    """Return whether a blob is a key slot of any repository, and not a foreign file."""
    if not _KEY_OF_SLOT.fullmatch(key):
        return False
    try:
        _parse(key, store.get_range(key, 0, _LIMIT))
    except (BlobNotFoundError, CorruptError):
        return False
    return True


def _parse(key: str, blob: bytes) -> Slot:
    try:
        fields = json.loads(blob)
        check = fields.pop("check")
        if _check(fields) != check:
            raise CorruptError("does not match its own digest")
        slot = Slot(**{name: str(fields[name]) for name in ("id", "kind", "label", "created")}, fields=fields)
        fields["repository"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptError("does not parse: damaged or cut off") from error
    if key != f"{KEYS}{slot.id}":
        raise CorruptError(f"is key slot {slot.id}: it was swapped or renamed")
    return slot


def _unwrap(slot: Slot, secret: Any) -> bytes | None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return _open(slot, AESGCM(_slot_key(slot, secret)))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{KEYS}{slot.id}: key slot is damaged: {error}") from error


def _slot_key(slot: Slot, secret: Any) -> bytes:
    def derive() -> bytes:
        return _KEYS[slot.kind](slot.fields, secret)

    if slot.kind == RECOVERY:
        return derive()
    proof = secret.proof() if isinstance(secret, KeyService) else secret
    return derived_once(_canonical({"slot": slot.fields, "proof": proof}), derive)


def _open(slot: Slot, aead: AESGCM) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    nonce, wrapped = (bytes.fromhex(slot.fields[name]) for name in ("nonce", "wrapped"))
    rest = {name: value for name, value in slot.fields.items() if name != "wrapped"}
    try:
        master = aead.decrypt(nonce, wrapped, _canonical(rest))
    except InvalidTag:
        return None
    return master if len(master) == MASTER_SIZE else None


def _recovery_key(fields: dict[str, Any], text: str) -> bytes:
    material = parse_recovery_key(text) + bytes.fromhex(fields["salt"])
    return blake3(material, derive_key_context="vmkeep repository format 1: recovery key slot").digest()


def _service_key(fields: dict[str, Any], service: KeyService) -> bytes:
    return service.unwrap(fields["key"], bytes.fromhex(fields["wrapped_key"]), repository=fields["repository"])


_KEYS: dict[str, Callable[[dict[str, Any], Any], bytes]] = {
    ARGON2ID: argon2id_key,
    SCRYPT: scrypt_key,
    RECOVERY: _recovery_key,
    KMS: _service_key,
}
"""Maps a kind of slot to the function that derives its key from its fields and a secret (a text, or a key service)."""


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()


def _check(fields: dict[str, Any]) -> str:
    return blake3(_canonical(fields)).hexdigest()

"""The first phase of a connection: the client looks at the exports, asks for abilities, and chooses one export."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.nbd.channel import Channel, GoneError
from vmkeep.nbd.exports import Export, Exports
from vmkeep.nbd.options import (
    BadOptionError,
    LongTextError,
    as_text,
    parse_context_question,
    parse_export_question,
)
from vmkeep.nbd.wire import (
    ALLOCATION,
    ALLOCATION_ID,
    CLIENT_FLAGS,
    FIXED_NEWSTYLE,
    GREETING,
    GREETING_MAGIC,
    MAX_OPTION,
    MAX_REQUEST,
    MAX_STRING,
    NO_ZEROES,
    OPTION,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    PADDING,
    PREFERRED_BLOCK,
    Answer,
    Info,
    Option,
)

_EXPORT: Final = Struct(">QH")
_U32: Final = Struct(">I")
_INFO_EXPORT: Final = Struct(">HQH")
_INFO_BLOCK_SIZE: Final = Struct(">HIII")
_U16: Final = Struct(">H")

StartTls = Callable[[], Channel]
"""Goes over to TLS, and returns the channel that is to be used from then on."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The outcome of a handshake."""

    export: Export
    channel: Channel
    structured: bool
    """Replies may come in chunks."""
    allocation: bool
    """The client may ask which extents hold data."""


class Handshake:
    """The server's side of one handshake."""

    def __init__(self, channel: Channel, exports: Exports, start_tls: StartTls | None) -> None:
        """:param start_tls: nothing but this is allowed before TLS has begun; ``None``: there is no TLS."""
        self._channel = channel
        self._exports = exports
        self._start_tls = start_tls
        self._secured = False
        self._structured = False
        self._allocation_of: Export | None = None
        self._zeroes = True
        self._chosen: Export | None = None

    def run(self) -> Agreement | None:
        """Answer the client until it has chosen an export; ``None``: it wants nothing more.

        :raises GoneError: the client is gone, or broke the protocol beyond repair.
        """
        self._channel.send(GREETING.pack(GREETING_MAGIC, OPTION_MAGIC, FIXED_NEWSTYLE | NO_ZEROES))
        (flags,) = CLIENT_FLAGS.unpack(self._read(CLIENT_FLAGS.size))
        if flags & ~(FIXED_NEWSTYLE | NO_ZEROES):
            raise GoneError(f"the client sent unknown flags {flags:#x}")
        self._zeroes = not flags & NO_ZEROES
        while self._chosen is None:
            magic, option, length = OPTION.unpack(self._read(OPTION.size))
            if magic != OPTION_MAGIC:
                raise GoneError("the client sent no NBD option")
            if length > MAX_OPTION:
                self._refuse(option, Answer.TOO_BIG, f"an option takes {MAX_OPTION} bytes at most")
                raise GoneError(f"the client sent an option of {length} bytes")
            if not self._take(option, self._read(length)):
                return None
        allocation = self._structured and self._allocation_of is self._chosen
        return Agreement(self._chosen, self._channel, self._structured, allocation)

    def _take(self, option: int, data: bytes) -> bool:
        """Answer one option. Return false if the client wants nothing more."""
        if option == Option.ABORT:
            self._reply(option, Answer.ACK)
            return False
        if option == Option.EXPORT_NAME:
            self._open_by_name(data)
            return True
        if option == Option.STARTTLS:
            self._go_over_to_tls(option, data)
            return True
        if self._start_tls is not None and not self._secured:
            self._refuse(option, Answer.TLS_REQUIRED, "this server talks only by TLS, with a pre-shared key")
            return True
        try:
            self._answer(option, data)
        except LongTextError as error:
            self._refuse(option, Answer.TOO_BIG, str(error))
        except BadOptionError as error:
            self._refuse(option, Answer.INVALID, str(error))
        return True

    def _answer(self, option: int, data: bytes) -> None:
        match option:
            case Option.LIST:
                self._list(option, data)
            case Option.STRUCTURED_REPLY:
                _require_empty(data)
                self._structured = True
                self._reply(option, Answer.ACK)
            case Option.INFO | Option.GO:
                self._tell(option, data)
            case Option.LIST_META_CONTEXT | Option.SET_META_CONTEXT:
                self._contexts(option, data)
            case _:
                self._refuse(option, Answer.UNSUPPORTED, "this server does not know the option")

    def _open_by_name(self, data: bytes) -> None:
        """Choose an export by the oldest option, which can be refused only by hanging up."""
        if self._start_tls is not None and not self._secured:
            raise GoneError("the client asked for an export before it went over to TLS")
        try:
            export = self._exports.find(as_text(data)) if len(data) <= MAX_STRING else None
        except BadOptionError:
            export = None
        if export is None:
            raise GoneError("the client asked for an export that is not there")
        size, able = export.disk.capacity, export.abilities(structured=self._structured)
        self._channel.send(_EXPORT.pack(size, able), PADDING if self._zeroes else b"")
        self._chosen = export

    def _go_over_to_tls(self, option: int, data: bytes) -> None:
        if self._start_tls is None:
            self._refuse(option, Answer.POLICY, "this server was started without keys for TLS")
        elif data or self._secured:
            self._refuse(option, Answer.INVALID, "TLS has begun already" if self._secured else "unexpected data")
        else:
            self._reply(option, Answer.ACK)
            self._channel = self._start_tls()
            self._secured = True

    def _list(self, option: int, data: bytes) -> None:
        _require_empty(data)
        for export in self._exports:
            name = export.name.encode()
            self._reply(option, Answer.SERVER, _U32.pack(len(name)), name, _text(export.description))
        self._reply(option, Answer.ACK)

    def _tell(self, option: int, data: bytes) -> None:
        question = parse_export_question(data)
        export = self._exports.find(question.name)
        if export is None:
            self._refuse(option, Answer.UNKNOWN, "there is no such export")
            return
        able = export.abilities(structured=self._structured)
        if Info.NAME in question.infos:
            self._reply(option, Answer.INFO, _U16.pack(Info.NAME), export.name.encode())
        if Info.DESCRIPTION in question.infos:
            self._reply(option, Answer.INFO, _U16.pack(Info.DESCRIPTION), _text(export.description))
        if Info.BLOCK_SIZE in question.infos:
            sizes = _INFO_BLOCK_SIZE.pack(Info.BLOCK_SIZE, 1, PREFERRED_BLOCK, MAX_REQUEST)
            self._reply(option, Answer.INFO, sizes)
        self._reply(option, Answer.INFO, _INFO_EXPORT.pack(Info.EXPORT, export.disk.capacity, able))
        self._reply(option, Answer.ACK)
        if option == Option.GO:
            self._chosen = export

    def _contexts(self, option: int, data: bytes) -> None:
        setting = option == Option.SET_META_CONTEXT
        if setting:
            self._allocation_of = None  # whatever is wrong with this request, the last one counts no more
        if not self._structured:
            raise BadOptionError("ask for structured replies first")
        question = parse_context_question(data)
        export = self._exports.find(question.name)
        if export is None:
            self._refuse(option, Answer.UNKNOWN, "there is no such export")
            return
        wanted = {ALLOCATION} if setting else {ALLOCATION, ALLOCATION.partition(":")[0] + ":"}
        if wanted & set(question.queries) or (not setting and not question.queries):
            self._reply(option, Answer.META_CONTEXT, _U32.pack(ALLOCATION_ID if setting else 0), ALLOCATION.encode())
            if setting:
                self._allocation_of = export
        self._reply(option, Answer.ACK)

    def _read(self, length: int) -> bytes:
        data = bytearray(length)
        self._channel.receive(memoryview(data))
        return bytes(data)

    def _reply(self, option: int, kind: Answer, *parts: bytes) -> None:
        head = OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, kind, sum(map(len, parts)))
        self._channel.send(head, *parts)

    def _refuse(self, option: int, kind: Answer, why: str) -> None:
        self._reply(option, kind, _text(why))


def _require_empty(data: bytes) -> None:
    if data:
        raise BadOptionError("the option takes no data")


def _text(words: str) -> bytes:
    """Return a text for the client, cut to the length that the protocol allows."""
    return words.encode()[:MAX_STRING].decode(errors="ignore").encode()

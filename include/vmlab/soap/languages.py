"""Answers in the language of the server: messages of faults and labels of devices, as a localized vCenter sends them.

Types, keys, names and paths stay, because they are in no language. It works on the finished document, so it forgets
nothing: a client that decides by an English word finds none.
"""

import re
from collections.abc import Callable

_MESSAGE = "Der Vorgang auf dem Server konnte nicht ausgeführt werden."
_FAULT_TEXTS = re.compile(r"<(faultstring|localizedMessage|message|reason)((?: [^>]*)?)>[^<]+</\1>")
_LABELS = (
    (r"Hard disk (\d+)", r"Festplatte \1"),
    (r"Network adapter (\d+)", r"Netzwerkadapter \1"),
    (r"CD/DVD drive (\d+)", r"CD-/DVD-Laufwerk \1"),
    (r"SCSI controller (\d+)", r"SCSI-Controller \1"),
    (r"SATA controller (\d+)", r"SATA-Controller \1"),
    (r"NVME controller (\d+)", r"NVME-Controller \1"),
    (r"Keyboard", "Tastatur"),
    (r"Pointing device", "Zeigegerät"),
    (r"Video card ", "Grafikkarte "),
    (r"VMCI device", "VMCI-Gerät"),
)


def _german(text: str) -> str:
    text = _FAULT_TEXTS.sub(rf"<\1\2>{_MESSAGE}</\1>", text)
    for english, german in _LABELS:
        text = re.sub(rf"<label>{english}</label>", f"<label>{german}</label>", text)
    return text


LANGUAGES: dict[str, Callable[[str], str]] = {"en": lambda text: text, "de": _german}
"""The function of each language that translates an answer."""


def translate(body: bytes, language: str) -> bytes:
    """Return an answer in one of `LANGUAGES`."""
    return body if language == "en" else LANGUAGES[language](body.decode()).encode()

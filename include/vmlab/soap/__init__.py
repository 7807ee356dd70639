"""HTTP, TLS and SOAP: from bytes of a socket to a typed request, and back.

`tls_server` accepts connections and gives each a thread; `http` reads one request and sends one answer.
`request` parses a SOAP envelope into a method and typed arguments; `response` writes a result or a fault in the shape
that strict clients expect. `languages` translates a finished answer, as a localized vCenter does. `certificate` makes
the server's certificate once per folder, or anew.

Knows no managed object and no inventory: the caller hands in one function that answers a request.
"""

from vmlab.soap.certificate import Certificate, load_or_make, renew
from vmlab.soap.http import SOAP_BODY_LIMIT, HttpRequest, HttpResponse, plain
from vmlab.soap.languages import LANGUAGES, translate
from vmlab.soap.request import SoapRequest
from vmlab.soap.response import fault_envelope, result_envelope
from vmlab.soap.tls_server import EVERYWHERE, LOOPBACK, TlsServer

__all__ = [
    "EVERYWHERE",
    "LANGUAGES",
    "LOOPBACK",
    "SOAP_BODY_LIMIT",
    "Certificate",
    "HttpRequest",
    "HttpResponse",
    "SoapRequest",
    "TlsServer",
    "fault_envelope",
    "load_or_make",
    "plain",
    "renew",
    "result_envelope",
    "translate",
]

"""A key service for tests that speaks KMS's protocol over HTTP, and is honest about what matters.

It checks every request's signature (SigV4), wraps with AES-GCM under keys of its own with the encryption context
authenticated, and refuses as the real one does: a wrong context, a wrong or disabled key, unknown credentials.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vmkeep.model.aws import AwsCredentials

ARN = "arn:aws:kms:eu-central-1:000000000000:"


@dataclass
class KeyServer:
    """A running service with two keys and an alias."""

    endpoint: str = ""
    access_key: str = "tests"
    secret_key: str = "a secret of the tests"
    key: str = f"{ARN}key/1111"
    other: str = f"{ARN}key/2222"
    alias: str = f"{ARN}alias/backup"
    denied: bool = False
    disabled: set[str] = field(default_factory=set)
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _material: dict[str, bytes] = field(default_factory=dict)

    @property
    def credentials(self) -> AwsCredentials:
        return AwsCredentials(
            access_key=self.access_key, secret_key=self.secret_key, region="us-east-1", kms_endpoint=self.endpoint
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_KMS": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def answer(self, verb: str, asked: dict[str, Any]) -> dict[str, object] | str:
        """Return the reply's fields, or the error's code."""
        context = dict(asked.get("EncryptionContext", {}))
        self.calls.append((verb, context))
        name = self.key if asked["KeyId"] == self.alias else str(asked["KeyId"])
        if self.denied:
            return "AccessDeniedException"
        if name not in (self.key, self.other):
            return "NotFoundException"
        if name in self.disabled:
            return "DisabledException"
        bound = json.dumps(context, sort_keys=True).encode()
        aead = AESGCM(self._material.setdefault(name, secrets.token_bytes(32)))
        if verb == "Encrypt":
            nonce = secrets.token_bytes(12)
            wrapped = nonce + aead.encrypt(nonce, base64.b64decode(str(asked["Plaintext"])), bound)
            return {"KeyId": name, "CiphertextBlob": base64.b64encode(wrapped).decode()}
        wrapped = base64.b64decode(str(asked["CiphertextBlob"]))
        try:
            plain = aead.decrypt(wrapped[:12], wrapped[12:], bound)
        except InvalidTag:
            return "InvalidCiphertextException"
        return {"KeyId": name, "Plaintext": base64.b64encode(plain).decode()}

    def knows(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Whether the request was signed with our secret, everything that was signed included."""
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/kms/aws4_request, SignedHeaders=([^,]+), "
            r"Signature=([0-9a-f]+)",
            headers.get("authorization", ""),
        )
        if match is None or match[1] != self.access_key:
            return False
        request = AWSRequest("POST", self.endpoint + path, data=body)
        for name in match[3].split(";"):
            request.headers[name] = headers[name]
        request.context["timestamp"] = headers["x-amz-date"]
        signer = SigV4Auth(Credentials(self.access_key, self.secret_key), "kms", match[2])
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return hmac.compare_digest(signature, match[4])


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """Run the service on a free port."""
    server = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if server.knows(self.path, headers, body):
                verb = headers["x-amz-target"].removeprefix("TrentService.")
                reply = server.answer(verb, json.loads(body))
            else:
                reply = "InvalidSignatureException"
            text = json.dumps({"__type": reply} if isinstance(reply, str) else reply).encode()
            self.send_response(400 if isinstance(reply, str) else 200)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.endpoint = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()

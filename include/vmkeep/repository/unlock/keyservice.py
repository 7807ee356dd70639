"""Uses keys that Amazon's Key Management Service keeps, or another server that speaks its protocol.

The service wraps the random key of one key slot. The master key itself is never sent. Each request carries the
repository's id as encryption context. So the service unwraps a slot only for the repository it was made for, and its
audit log says which repository was opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vmkeep.blobs.aws import AwsClient, refusal, resolve
from vmkeep.errors import (
    AuthenticationError,
    CorruptError,
    CredentialsExpiredError,
    PermissionDeniedError,
    RepositoryError,
    TransientError,
    UnreachableError,
    UsageError,
    VmKeepError,
)
from vmkeep.extras import needs_extra
from vmkeep.model.aws import AwsCredentials

_ARN = re.compile(r"arn:[a-z-]+:kms:([a-z0-9-]+):\d{12}:(?:key|alias)/[A-Za-z0-9/_-]+")
_CONTEXT = "vmkeep-repository"
_NOT_OURS = {"InvalidCiphertextException", "IncorrectKeyException"}
_BAD_KEYS = {"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "InvalidClientTokenId"}


class KeyService:
    """Wraps and unwraps small secrets under keys that are named by their ARN (Amazon resource name)."""

    def __init__(self, aws: AwsCredentials | None = None) -> None:
        """:param aws: credentials; ``None``: those of the environment and of AWS's usual chain."""
        self._aws = aws
        self._clients: dict[str, AwsClient] = {}

    def wrap(self, key: str, secret: bytes, *, repository: str) -> tuple[str, bytes]:
        """Wrap a secret; return the ARN of the key itself and the wrapped secret.

        The key's own ARN is returned because an alias may point to another key later.

        :param key: ARN of a key or an alias.
        :param repository: id of the repository that the secret is for.
        :raises UsageError: ``key`` is not the ARN of a key.
        :raises PermissionDeniedError: these credentials may not use the key.
        :raises RepositoryError: the key does not exist, is disabled, or is of another kind.
        """
        with _errors(key):
            answer = self._client(key).encrypt(KeyId=key, Plaintext=secret, EncryptionContext={_CONTEXT: repository})
        return str(answer["KeyId"]), bytes(answer["CiphertextBlob"])

    def unwrap(self, key: str, wrapped: bytes, *, repository: str) -> bytes:
        """Unwrap a secret. Raises the errors of :meth:`wrap`, too.

        :raises CorruptError: the secret was wrapped for another repository or by another key, or is damaged.
        """
        with _errors(key):
            answer = self._client(key).decrypt(
                KeyId=key, CiphertextBlob=wrapped, EncryptionContext={_CONTEXT: repository}
            )
        return bytes(answer["Plaintext"])

    def proof(self) -> str:
        """Return a secret that proves the right to ask the service: the given credentials; empty: the environment's."""
        return "" if self._aws is None else f"{self._aws.access_key} {self._aws.secret_key}"

    def _client(self, key: str) -> Any:
        match = _ARN.fullmatch(key)
        if match is None:
            raise UsageError(f"{key}: not the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID)")
        if (region := match[1]) not in self._clients:
            found = resolve(self._aws, what=key)
            self._clients[region] = AwsClient("kms", found, endpoint=found.kms_endpoint, region=region)
        return self._clients[region].get()


@contextmanager
def _errors(key: str) -> Iterator[None]:
    with needs_extra("s3", key):
        from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _translate(key, error) from error


def _translate(key: str, error: Exception) -> VmKeepError:
    code, status = refusal(error)
    if not status:
        return UnreachableError(f"{key}: the key service cannot be reached: {error}")
    if code == "AccessDeniedException":
        return PermissionDeniedError(
            f"{key}: the key service denies access; the credentials need kms:Encrypt (to add a slot) and kms:Decrypt",
            privilege="kms:Decrypt",
            target=key,
        )
    if code == "ExpiredTokenException":
        return CredentialsExpiredError(f"{key}: the AWS credentials have expired")
    if code in _BAD_KEYS:
        return AuthenticationError(f"{key}: the key service refuses the AWS credentials ({code})")
    if code in _NOT_OURS:
        return CorruptError(f"{key}: the key slot was not wrapped by this key for this repository ({code})")
    if status >= 500 or "Throttling" in code:
        return TransientError(f"{key}: the key service answered {status} {code}")
    return RepositoryError(f"{key}: the key service cannot use this key ({code}): {error}")

"""What an S3 server's refusal means, in one line and in our classes.

The client gives its errors as text around the server's XML; its own classes are too coarse (a wrong secret and a
missing bucket are both "generic" when they meet a listing). So the server's error code decides, then the HTTP status.
Codes: "Error responses" of the Amazon S3 API reference.
"""

from __future__ import annotations

import re

from vmkeep.blobs.awschain import no_credentials
from vmkeep.errors import (
    AuthenticationError,
    BlobNotFoundError,
    CredentialsExpiredError,
    PermissionDeniedError,
    RepositoryError,
    StoreError,
    StoreFullError,
    VmKeepError,
)

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_METADATA_SERVICE = "169.254."
_BAD_KEYS = {"SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_NOT_RENEWED = "External AWS credential provider: "
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLarge"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


def translate(error: Exception, *, bucket: str, endpoint: str, what: str) -> VmKeepError:
    """Return our error for one of obstore's.

    :param what: the object's full location, or the bucket's for a listing.
    """
    text = str(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    status = int(match[1]) if (match := _STATUS.search(text)) else 0
    if _METADATA_SERVICE in text.partition("\n")[0]:
        return no_credentials(what)
    if _NOT_RENEWED in text:
        why = text.partition(_NOT_RENEWED)[2].partition("\n")[0]
        return StoreError(f"{what}: the AWS credentials could not be renewed: {why[:300]}")
    return explain(text, code=code, status=status, bucket=bucket, endpoint=endpoint, what=what)


def explain(text: str, *, code: str, status: int, bucket: str, endpoint: str, what: str) -> VmKeepError:
    """Return our error for a server's code and HTTP status, whichever client it came through.

    :param text: all that is known of the error; looked at where code and status say nothing.
    """
    if code in _EXPIRED:
        return CredentialsExpiredError(f"{what}: {endpoint} says that the AWS credentials have expired ({code})")
    if code == "NoSuchBucket":
        return RepositoryError(f"s3://{bucket}: no such bucket at {endpoint}; create it first, vmkeep never does")
    if code == "RequestTimeTooSkewed":
        return AuthenticationError(
            f"{what}: {endpoint} refuses us because this machine's clock is off; set the clock (NTP)"
        )
    if code in _BAD_KEYS or status == 401:
        return AuthenticationError(
            f"{what}: {endpoint} refuses the access key or its secret ({code or status}); check the AWS credentials"
        )
    if code in _ELSEWHERE or status == 301 or "incorrectly configured region" in text:
        return RepositoryError(f"s3://{bucket}: is in another region; set AWS_REGION to the bucket's")
    if status == 403:
        return PermissionDeniedError(
            f"{what}: access denied by {endpoint} ({code or 'no reason given'}); the credentials need "
            f"s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject below the prefix (and for a "
            "bucket with versions or locks what docs/operations.md lists)",
            target=what,
        )
    return _of_one_object(text, code=code, status=status, endpoint=endpoint, what=what)


def _of_one_object(text: str, *, code: str, status: int, endpoint: str, what: str) -> VmKeepError:
    if status == 404:
        return BlobNotFoundError(f"{what}: no such blob")
    if code in _FULL or status == 507:
        return StoreFullError(f"{what}: no space left at {endpoint} ({code or status})")
    if status == 501:
        return RepositoryError(
            f"{what}: {endpoint} does not know conditional writes (If-None-Match), which a repository is built on"
        )
    if status:
        return StoreError(f"{what}: {endpoint} answered {status} {code}".rstrip())
    if "kind: Connect" in text:
        return StoreError(f"{what}: {endpoint} cannot be reached; check the endpoint and the network")
    if "kind: Timeout" in text or "timed out" in text:
        return StoreError(f"{what}: {endpoint} did not answer in time")
    return StoreError(f"{what}: {text.partition(chr(10))[0][:300]}")

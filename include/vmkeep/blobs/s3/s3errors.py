"""Turns an S3 server's refusal into one of vmkeep's errors, with a message of one line.

The server's error code decides, then the HTTP status, never the words around them. The codes are those of the section
"Error responses" in the Amazon S3 API reference, and those that other servers add.
"""

from __future__ import annotations

from vmkeep.blobs.s3.answers import Answer
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

_BAD_KEYS = {"SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_FULL = {
    "EntityTooLarge",  # OpenStack Swift, if a quota is used up
    "InsufficientCapacity",
    "InsufficientStorage",
    "InsufficientStorageSpace",  # Huawei OBS
    "XMinioStorageFull",
}
_QUOTA = "QuotaExceeded"
"""A part of every server's code for a used-up quota: it is Ceph's code, and part of MinIO's
``XMinioAdminBucketQuotaExceeded``."""
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


def explain(answer: Answer, *, bucket: str, endpoint: str, what: str, needs: str = "this request") -> VmKeepError:
    """Return vmkeep's error for a server's answer, whichever client received it.

    :param what: the object's full location, or the bucket's for a listing.
    :param needs: the feature that the request uses, for a server that does not have it.
    """
    code, status = answer.code, answer.status
    if code in _EXPIRED:
        return CredentialsExpiredError(f"{what}: {endpoint} says that the AWS credentials have expired ({code})")
    if code == "NoSuchBucket":
        return RepositoryError(
            f"s3://{bucket}: no such bucket at {endpoint}; create it first, because vmkeep never does"
        )
    if code == "RequestTimeTooSkewed":
        return AuthenticationError(
            f"{what}: {endpoint} refuses the request because this machine's clock is off; set the clock (NTP)"
        )
    if code in _BAD_KEYS or status == 401:
        return AuthenticationError(
            f"{what}: {endpoint} refuses the access key or its secret ({code or status}); check the AWS credentials"
        )
    if code in _ELSEWHERE or status == 301:
        return RepositoryError(f"s3://{bucket}: is in another region; set AWS_REGION to the bucket's")
    if code in _FULL or _QUOTA in code or status == 507:  # Ceph sends 403, MinIO 400
        return StoreFullError(f"{what}: no space left at {endpoint} ({code or status})")
    if status == 403:
        return PermissionDeniedError(
            f"{what}: access denied by {endpoint} ({code or 'no reason given'}); the credentials need "
            f"s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject below the prefix (and for a "
            "bucket with versions or locks the rights that docs/operations/repositories.md lists)",
            target=what,
        )
    return _of_one_object(answer, endpoint=endpoint, what=what, needs=needs)


def _of_one_object(answer: Answer, *, endpoint: str, what: str, needs: str) -> VmKeepError:
    if answer.status == 404:
        return BlobNotFoundError(f"{what}: no such blob")
    if answer.status == 501:
        return RepositoryError(f"{what}: {endpoint} does not know {needs}")
    if answer.status:
        return StoreError(f"{what}: {endpoint} answered {answer.status} {answer.code}".rstrip())
    if answer.failure == "Connect":
        return StoreError(f"{what}: {endpoint} cannot be reached; check the endpoint and the network")
    if answer.failure == "Timeout":
        return StoreError(f"{what}: {endpoint} did not answer in time")
    if answer.failure == "Interrupted":
        return StoreError(f"{what}: {endpoint} broke off in the middle of its answer")
    return StoreError(f"{what}: {answer.words[:300]}")

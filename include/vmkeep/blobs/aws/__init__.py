"""Credentials and clients for Amazon's S3 and Key Management Service, and for servers that speak their protocols.

``chain`` asks the same sources of credentials as Amazon's own tools, in the same order. ``client`` makes one client for
each set of credentials, and reads code and status of refusals. Both load botocore only when they need it.
"""

from vmkeep.blobs.aws.chain import frozen, resolve
from vmkeep.blobs.aws.client import AwsClient, refusal

__all__ = [
    "AwsClient",
    "frozen",
    "refusal",
    "resolve",
]

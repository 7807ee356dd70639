"""Amazon's credentials and clients, for S3 and for the Key Management Service.

``chain`` asks the sources of credentials that Amazon's own tools ask, in their order; ``client`` makes one client
for each set of credentials and turns refusals into our errors. Both load botocore only when they need it.
"""

from vmkeep.blobs.aws.chain import frozen, resolve
from vmkeep.blobs.aws.client import AwsClient, refusal

__all__ = [
    "AwsClient",
    "frozen",
    "refusal",
    "resolve",
]

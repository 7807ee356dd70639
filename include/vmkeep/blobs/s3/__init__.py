"""Blobs on S3 and on servers that speak its protocol.

``s3store`` is the store: put-if-absent by conditional writes, reads by range, listings by page (``s3listing``).
``s3access`` finds endpoint, region, credentials and certificate. ``answers`` and ``s3errors`` turn replies into
vmkeep's errors, by status and code. If a bucket keeps versions and object locks, ``versions`` and ``s3locks`` find
objects that were overwritten or deleted, and bring them back. ``uploads`` sends large objects in parts, for exports.
"""

from vmkeep.blobs.s3.s3access import S3Access, S3Location, parse_location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.s3.uploads import S3Uploads, SentPart

__all__ = [
    "S3Access",
    "S3BlobStore",
    "S3Location",
    "S3Uploads",
    "SentPart",
    "parse_location",
]

"""Completes AWS credentials from the caller's values, then from the environment, then from the usual chain.

The usual chain is botocore's: shared files, processes, single sign-on, web identity, containers, instance metadata.
Its credentials may expire, so they come with a function that renews them. This module knows no service, only the names
of their endpoints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from vmkeep.errors import AuthenticationError, TransientError, UsageError
from vmkeep.model.aws import AwsCredentials


def resolve(given: AwsCredentials | None, *, what: str, environment: Mapping[str, str] | None = None) -> AwsCredentials:
    """Return complete credentials: keys, endpoints, region and certificate authority. Only the chain sends requests.

    :param given: the caller's values, which come first.
    :param what: the thing that needs the credentials, for messages.
    :raises AuthenticationError: there are no credentials.
    :raises UsageError: the AWS configuration cannot be used.
    """
    environment = os.environ if environment is None else environment
    found = given or AwsCredentials()
    everywhere = environment.get("AWS_ENDPOINT_URL", "")
    found = replace(
        found,
        endpoint=found.endpoint or environment.get("AWS_ENDPOINT_URL_S3", "") or everywhere,
        kms_endpoint=found.kms_endpoint or environment.get("AWS_ENDPOINT_URL_KMS", "") or everywhere,
        region=found.region or environment.get("AWS_REGION", "") or environment.get("AWS_DEFAULT_REGION", ""),
        ca_file=found.ca_file or environment.get("AWS_CA_BUNDLE", ""),
    )
    if not found.access_key and "AWS_PROFILE" not in environment and (key := environment.get("AWS_ACCESS_KEY_ID")):
        secret, token = environment.get("AWS_SECRET_ACCESS_KEY", ""), environment.get("AWS_SESSION_TOKEN", "")
        found = replace(found, access_key=key, secret_key=secret, token=token)
    if found.access_key and not found.secret_key:
        raise AuthenticationError(f"{what}: the access key {found.access_key} has no secret; set AWS_SECRET_ACCESS_KEY")
    return found if found.access_key else _ask_chain(found, what)


def _ask_chain(found: AwsCredentials, what: str) -> AwsCredentials:
    from botocore.exceptions import BotoCoreError  # slow to import, and keys are mostly in the environment
    from botocore.session import Session

    session = Session()
    try:
        credentials = session.get_credentials()
        if credentials is None:
            raise AuthenticationError(
                f"{what}: no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        completed = replace(
            found,
            endpoint=found.endpoint or _endpoint(session, "s3"),
            kms_endpoint=found.kms_endpoint or _endpoint(session, "kms"),
            region=found.region or session.get_config_variable("region") or "",
            ca_file=found.ca_file or session.get_config_variable("ca_bundle") or "",
        )
        return frozen(completed, credentials)
    except BotoCoreError as error:
        raise UsageError(f"{what}: the AWS configuration cannot be used: {error}") from error


def frozen(places: AwsCredentials, credentials: Any) -> AwsCredentials:
    """Return the current keys of botocore's credentials, with ``renew`` if they expire.

    :param places: the endpoints, the region and the certificate authority.
    :param credentials: ``botocore.credentials.Credentials``, which renew themselves minutes before they expire.
    """
    keys = credentials.get_frozen_credentials()
    return replace(
        places,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        token=keys.token or "",
        renew=partial(_renewed, places, credentials) if keys.token else None,
    )


def _renewed(places: AwsCredentials, credentials: Any) -> AwsCredentials:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return frozen(places, credentials)
    except (BotoCoreError, ClientError) as error:
        raise TransientError(f"AWS credentials cannot be renewed: {error}") from error


def _endpoint(session: Any, service: str) -> str:
    """Return the endpoint that the profile gives for a service, or for all services; empty: it gives none."""
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    own = services.get(service, {})
    return str((own.get("endpoint_url") if isinstance(own, dict) else None) or profile.get("endpoint_url") or "")

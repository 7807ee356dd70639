"""Makes the engine's credentials of an Airflow connection of type ``aws``, through the Amazon provider's hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmkeep.errors import AuthenticationError, TransientError, UsageError
from vmkeep.extras import needs_extra
from vmkeep.model.aws import AwsCredentials
from vmkeep_airflow.hooks.fields import load_connection

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook


def load_aws(aws_conn_id: str) -> AwsCredentials:
    """Return the keys, endpoints and region of a connection. The worker's environment provides missing values.

    Roles are assumed here. Keys that expire come with ``renew``, which needs no Airflow and works on any thread.

    :raises UsageError: there is no such connection, it is of another type, or it switches verification off.
    :raises AuthenticationError: neither the connection nor the worker has keys, or the role was refused.
    :raises TransientError: the token service cannot be reached.
    """
    load_connection(aws_conn_id, conn_type="aws")  # because the hook treats a missing connection as an empty one
    with needs_extra("airflow", f"Airflow connection {aws_conn_id!r}"):
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.exceptions import BotoCoreError, ClientError

    from vmkeep.blobs.aws import frozen

    hook = S3Hook(aws_conn_id=aws_conn_id)
    places = _places(hook)
    try:
        credentials = hook.get_session().get_credentials()
        if credentials is None:
            raise AuthenticationError(
                f"Airflow connection {aws_conn_id!r} has no keys, and this worker has none: fill in the access key "
                "and its secret, or a role_arn"
            )
        return frozen(places, credentials)
    except (BotoCoreError, ClientError) as error:
        kind = TransientError if _may_pass(error) else AuthenticationError
        raise kind(f"Airflow connection {aws_conn_id!r}: no AWS credentials: {error}") from error


def _may_pass(error: Exception) -> bool:
    """Return whether a retry may help, because the token service did not answer or is out of order."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004

    if isinstance(error, ClientError):
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"]) >= 500
    return isinstance(error, (ConnectionError, HTTPClientError))


def _places(hook: S3Hook) -> AwsCredentials:
    config = hook.conn_config
    verify = hook.verify
    if verify is False or str(verify).lower() in ("false", "0", "no"):
        raise UsageError(
            f"Airflow connection {hook.aws_conn_id!r} switches the check of the server's certificate off: set verify "
            "to a PEM file with its authority instead"
        )
    return AwsCredentials(
        endpoint=config.get_service_endpoint_url("s3") or "",
        kms_endpoint=config.get_service_endpoint_url("kms") or "",
        region=hook.region_name or "",
        ca_file=verify if isinstance(verify, str) else "",
    )

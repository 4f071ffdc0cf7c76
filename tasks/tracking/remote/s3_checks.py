"""What `sparring doctor` says of a bucket, and what the bucket wants said in each write."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import Finding, RemoteError
from tasks.tracking.remote.s3_retries import NotSupportedError, NotThereError

_T = TypeVar("_T")
_EVERYBODY = ("AllUsers", "AuthenticatedUsers")
_GUARDS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class Bucket(Protocol):
    """What an examination needs of the remote."""

    bucket: str
    url: str

    @property
    def client(self) -> Any:
        """boto3's client."""
        ...

    def call(self, action: str, name: str, request: Callable[[], _T]) -> _T:
        """Carry a request out through the retries."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object."""
        ...


def examine(remote: Bucket) -> list[Finding]:
    """Look whether a bucket is reachable, writable, encrypted, not public and versioned."""
    try:
        remote.call(
            "list", "", lambda: remote.client.list_objects_v2(Bucket=remote.bucket, MaxKeys=1)
        )
    except (ConfigError, RemoteError) as error:
        return [Finding("reachable", "bad", str(error))]
    found = [Finding("reachable", "ok", remote.url), _writable(remote), _encrypted(remote)]
    return [*found, _not_public(remote), _versioned(remote)]


def write_encryption(remote: Bucket) -> dict[str, str]:
    """Return the arguments of a write that the bucket's default encryption asks for.

    The default holds without them, but a bucket's policy may refuse writes that do not say it.
    """
    rule = _default_encryption(remote) or {}
    if rule.get("SSEAlgorithm") == "aws:kms":
        key = {"SSEKMSKeyId": rule["KMSMasterKeyID"]} if rule.get("KMSMasterKeyID") else {}
        return {"ServerSideEncryption": "aws:kms", **key}
    return {"ServerSideEncryption": "AES256"} if rule.get("SSEAlgorithm") == "AES256" else {}


def _writable(remote: Bucket) -> Finding:
    """Write and remove a probe."""
    probe = f".probe/{secrets.token_hex(8)}"
    try:
        remote.put(probe, b"")
        remote.delete(probe)
    except (ConfigError, RemoteError) as error:
        return Finding("writable", "bad", str(error))
    return Finding("writable", "ok", "a probe was written and removed")


def _encrypted(remote: Bucket) -> Finding:
    """Look at the default encryption."""
    rule = _default_encryption(remote)
    if rule is None:
        return Finding("encrypted", "unknown", "the server does not say")
    if algorithm := rule.get("SSEAlgorithm"):
        return Finding("encrypted", "ok", f"by {algorithm}")
    return Finding("encrypted", "bad", "no default encryption: turn it on for the bucket")


def _default_encryption(remote: Bucket) -> dict[str, Any] | None:
    """Return the bucket's rule, empty where it has none, None where the server does not say."""
    settings = _settings(
        remote, "get_bucket_encryption", none="ServerSideEncryptionConfigurationNotFoundError"
    )
    if not settings:
        return settings
    rules = settings.get("ServerSideEncryptionConfiguration", {}).get("Rules")
    return rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else None


def _not_public(remote: Bucket) -> Finding:
    """Look whether strangers may read or write: by the guard, the policy, the access list."""
    guard = _settings(
        remote, "get_public_access_block", none="NoSuchPublicAccessBlockConfiguration"
    )
    if guard and all(guard.get("PublicAccessBlockConfiguration", {}).get(key) for key in _GUARDS):
        return Finding("not public", "ok", "public access is blocked")
    policy = _settings(remote, "get_bucket_policy_status", none="NoSuchBucketPolicy")
    if policy and policy.get("PolicyStatus", {}).get("IsPublic"):
        return Finding("not public", "bad", "its policy lets everybody in: block public access")
    access = _settings(remote, "get_bucket_acl")
    if access is None:
        return Finding("not public", "unknown", "the server does not say")
    for grant in access.get("Grants", []):
        if str(grant.get("Grantee", {}).get("URI", "")).endswith(_EVERYBODY):
            detail = f"everybody has {grant.get('Permission')}: make the bucket private"
            return Finding("not public", "bad", detail)
    return Finding("not public", "ok", "its access list names no strangers")


def _versioned(remote: Bucket) -> Finding:
    """Look whether what is overwritten or deleted can be got back."""
    settings = _settings(remote, "get_bucket_versioning")
    if settings is None:
        return Finding("versioned", "unknown", "the server does not say")
    if settings.get("Status") == "Enabled":
        return Finding("versioned", "ok", "old versions are kept")
    advice = "turn versioning on, to get back what is deleted by mistake"
    return Finding("versioned", "bad", f"not versioned: {advice}")


def _settings(remote: Bucket, operation: str, none: str = "") -> dict[str, Any] | None:
    """Ask for settings of the bucket; {} where it has none, None where nobody says."""
    method = getattr(remote.client, operation)
    try:
        answer = remote.call("examine", operation, lambda: method(Bucket=remote.bucket))
    except (ConfigError, NotSupportedError, NotThereError):
        return None
    except RemoteError as error:
        return {} if none and none in str(error) else None
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

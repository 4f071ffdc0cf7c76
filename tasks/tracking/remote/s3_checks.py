"""What `sparring doctor` says of a bucket, and what the bucket wants said in each write."""

from __future__ import annotations

import os
import secrets
from typing import Any

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.base import Finding, RemoteError, no_conditional_writes
from tasks.tracking.remote.s3_bucket import Bucket
from tasks.tracking.remote.s3_retries import NotSupportedError, NotThereError, RefusedError

PUBLISHED = "SPARRING_PUBLIC_REMOTE"
"""The environment variable that says that everybody may read the bucket on purpose."""
PROBES = ".probe/"
"""Begins the names of what is written to try a bucket out; it is removed at once."""

_EVERYBODY = ("AllUsers", "AuthenticatedUsers")
_GUARDS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def examine(bucket: Bucket) -> list[Finding]:
    """Look whether a bucket is reachable, writable, encrypted, not public, versioned and tidied."""
    try:
        with bucket.asking("list", "") as client:
            client.list_objects_v2(Bucket=bucket.name, MaxKeys=1)
    except (ConfigError, RemoteError) as error:
        return [Finding("reachable", "bad", str(error))]
    found = [Finding("reachable", "ok", bucket.url), _writable(bucket), _encrypted(bucket)]
    versioned = _versioned(bucket)
    return [*found, _not_public(bucket), versioned, _tidied(bucket, versioned.state == "ok")]


def write_encryption(bucket: Bucket) -> dict[str, str]:
    """Return the arguments of a write that the bucket's default encryption asks for.

    The default holds without them, but a bucket's policy may refuse writes that do not say it.
    """
    rule = _default_encryption(bucket) or {}
    if rule.get("SSEAlgorithm") == "aws:kms":
        key = {"SSEKMSKeyId": rule["KMSMasterKeyID"]} if rule.get("KMSMasterKeyID") else {}
        return {"ServerSideEncryption": "aws:kms", **key}
    return {"ServerSideEncryption": "AES256"} if rule.get("SSEAlgorithm") == "AES256" else {}


def require_private(bucket: Bucket) -> None:
    """Refuse to write data where everybody may read them, unless that is said to be meant.

    Raises:
        ConfigError: The bucket is public, as far as the server says.
    """
    found = _not_public(bucket)
    if found.state == "bad" and not os.environ.get(PUBLISHED):
        raise ConfigError(
            f"bucket {bucket.name} is public: {found.detail}; or set {PUBLISHED}=1 if it is meant"
            " to be, and nothing private goes there"
        )


def prove_conditional_writes(bucket: Bucket, options: dict[str, str]) -> None:
    """Write one name twice, the second time in vain: who may do a stage is decided that way.

    Raises:
        ConfigError: The store does not honour `If-None-Match: *`, or cannot be written.
    """
    probe, refused = f"{PROBES}{secrets.token_hex(8)}", False
    try:
        for _ in range(2):
            bucket.put(probe, b"", IfNoneMatch="*", **options)
    except RefusedError:
        refused = True
    except NotSupportedError as error:
        raise no_conditional_writes(bucket.client.meta.endpoint_url) from error
    bucket.delete(probe)
    if not refused:
        raise no_conditional_writes(bucket.client.meta.endpoint_url)


def _writable(bucket: Bucket) -> Finding:
    """Write a probe as every writer does."""
    try:
        prove_conditional_writes(bucket, write_encryption(bucket))
    except (ConfigError, RemoteError) as error:
        return Finding("writable", "bad", str(error))
    return Finding("writable", "ok", "a probe was written once, not twice, and removed")


def _encrypted(bucket: Bucket) -> Finding:
    """Look at the default encryption."""
    rule = _default_encryption(bucket)
    if rule is None:
        return Finding("encrypted", "unknown", "the server does not say")
    if algorithm := rule.get("SSEAlgorithm"):
        return Finding("encrypted", "ok", f"by {algorithm}")
    return Finding("encrypted", "bad", "no default encryption: turn it on for the bucket")


def _default_encryption(bucket: Bucket) -> dict[str, Any] | None:
    """Return the bucket's rule, empty where it has none, None where the server does not say."""
    settings = _settings(
        bucket, "get_bucket_encryption", none="ServerSideEncryptionConfigurationNotFoundError"
    )
    if not settings:
        return settings
    rules = settings.get("ServerSideEncryptionConfiguration", {}).get("Rules")
    return rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else None


def _not_public(bucket: Bucket) -> Finding:
    """Look whether strangers may read or write: by the guard, the policy, the access list."""
    guard = _settings(
        bucket, "get_public_access_block", none="NoSuchPublicAccessBlockConfiguration"
    )
    if guard and all(guard.get("PublicAccessBlockConfiguration", {}).get(key) for key in _GUARDS):
        return Finding("not public", "ok", "public access is blocked")
    policy = _settings(bucket, "get_bucket_policy_status", none="NoSuchBucketPolicy")
    if policy and policy.get("PolicyStatus", {}).get("IsPublic"):
        return Finding("not public", "bad", "its policy lets everybody in: block public access")
    access = _settings(bucket, "get_bucket_acl")
    if access is None:
        return Finding("not public", "unknown", "the server does not say")
    for grant in access.get("Grants", []):
        if str(grant.get("Grantee", {}).get("URI", "")).endswith(_EVERYBODY):
            detail = f"everybody has {grant.get('Permission')}: make the bucket private"
            return Finding("not public", "bad", detail)
    return Finding("not public", "ok", "its access list names no strangers")


def _versioned(bucket: Bucket) -> Finding:
    """Look whether what is overwritten or deleted can be got back."""
    settings = _settings(bucket, "get_bucket_versioning")
    if settings is None:
        return Finding("versioned", "unknown", "the server does not say")
    if settings.get("Status") == "Enabled":
        return Finding("versioned", "ok", "old versions are kept")
    advice = "turn versioning on, to get back what is deleted by mistake"
    return Finding("versioned", "bad", f"not versioned: {advice}")


def _tidied(bucket: Bucket, keeps_versions: bool) -> Finding:
    """Look whether what is paid for and never seen goes away: cut uploads, old versions."""
    settings = _settings(
        bucket, "get_bucket_lifecycle_configuration", none="NoSuchLifecycleConfiguration"
    )
    if settings is None:
        return Finding("tidied", "unknown", "the server does not say")
    rules = [rule for rule in settings.get("Rules", []) if _applies(rule, bucket.prefix)]
    needed = {"unfinished uploads": "AbortIncompleteMultipartUpload"}
    if keeps_versions:
        needed["old versions"] = "NoncurrentVersionExpiration"
    missing = [what for what, key in needed.items() if not any(key in rule for rule in rules)]
    if not missing:
        return Finding("tidied", "ok", f"rules remove {' and '.join(needed)}")
    detail = f"no rule removes {' and '.join(missing)}: infra/s3/lifecycle.json has them"
    return Finding("tidied", "bad", detail)


def _applies(rule: dict[str, Any], prefix: str) -> bool:
    """Whether a rule of the life cycle is on, and for all objects below a prefix."""
    chosen = rule.get("Filter", {})
    is_for_all = set(chosen) <= {"Prefix"}  # not by tag or size
    begins = chosen.get("Prefix", rule.get("Prefix", ""))
    return rule.get("Status") == "Enabled" and is_for_all and prefix.startswith(begins)


def _settings(bucket: Bucket, operation: str, none: str = "") -> dict[str, Any] | None:
    """Ask for settings of the bucket; {} where it has none, None where nobody says."""
    try:
        with bucket.asking("examine", operation) as client:
            answer = getattr(client, operation)(Bucket=bucket.name)
    except (ConfigError, NotSupportedError, NotThereError):
        return None
    except RemoteError as error:
        return {} if none and none in str(error) else None
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

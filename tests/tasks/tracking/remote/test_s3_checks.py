"""What is made of a bucket's settings, those of Amazon among them, which our test server lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tasks.settings.errors import ConfigError
from tasks.tracking.remote import s3_checks
from tasks.tracking.remote.s3_bucket import Bucket
from tasks.tracking.remote.s3_retries import Retries

AES = {"SSEAlgorithm": "AES256"}
KMS = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key"}
ALL_BLOCKED = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)
LIFECYCLE = json.loads(Path("infra/s3/lifecycle.json").read_text("utf-8"))


class _Bucket(Bucket):
    """A bucket whose client gives the settings it is made with; a word is an error's code."""

    def __init__(self, *puts: str, **settings: Any) -> None:
        super().__init__("bucket")
        answers = iter(puts or ("", "PreconditionFailed"))

        def asked(name: str) -> Callable[..., Any]:
            def answer(**_: Any) -> Any:
                value = next(answers) if name == "put_object" else settings.get(name, {})
                if value and isinstance(value, str):
                    facts = {"Error": {"Code": value}}
                    raise ClientError(facts, name)
                return value

            return answer

        operations = ("encryption", "acl", "versioning", "policy_status", "lifecycle_configuration")
        names = ["list_objects_v2", "put_object", "delete_object", "get_public_access_block"]
        names += [f"get_bucket_{name}" for name in operations]
        self._fake = SimpleNamespace(**{name: asked(name) for name in names})
        self._fake.meta = SimpleNamespace(endpoint_url="https://s3")

    def _connection(self) -> tuple[Any, Retries]:
        return self._fake, Retries("bucket", "https://s3")


def _rule(rule: dict[str, str]) -> dict[str, Any]:
    rules = [{"ApplyServerSideEncryptionByDefault": rule}]
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _states(**settings: Any) -> dict[str, str]:
    return {found.subject: found.state for found in s3_checks.examine(_Bucket(**settings))}


def test_a_bucket_of_aws() -> None:
    states = _states(
        get_bucket_encryption=_rule(AES),
        get_public_access_block={"PublicAccessBlockConfiguration": ALL_BLOCKED},
        get_bucket_versioning={"Status": "Enabled"},
        get_bucket_lifecycle_configuration=LIFECYCLE,
    )
    assert set(states.values()) == {"ok"} and len(states) == 6
    none = "ServerSideEncryptionConfigurationNotFoundError"
    public = {"PolicyStatus": {"IsPublic": True}}
    states = _states(get_bucket_encryption=none, get_bucket_policy_status=public)
    assert (states["encrypted"], states["not public"], states["versioned"]) == ("bad",) * 3
    states = _states(get_bucket_encryption="AccessDenied", get_bucket_acl="NotImplemented")
    assert (states["encrypted"], states["not public"]) == ("unknown", "unknown")


def test_what_is_never_seen_goes_away() -> None:
    uploads, versions = LIFECYCLE["Rules"]
    elsewhere = {**versions, "Filter": {"Prefix": "other/"}}
    tagged = {**versions, "Filter": {"And": {"Tags": []}}}
    off = {**uploads, "Status": "Disabled"}

    def tidied(*rules: Any, versioning: str = "Enabled") -> tuple[str, str]:
        found = s3_checks.examine(
            _Bucket(
                get_bucket_versioning={"Status": versioning},
                get_bucket_lifecycle_configuration={"Rules": list(rules)},
            )
        )
        return found[-1].state, found[-1].detail

    assert tidied(uploads, versions)[0] == "ok"
    assert tidied(uploads, versioning="Suspended")[0] == "ok"
    for rules in ((uploads,), (uploads, elsewhere), (uploads, tagged)):
        assert tidied(*rules) == (
            "bad", "no rule removes old versions: infra/s3/lifecycle.json has them"
        )  # fmt: skip
    assert tidied(off, versions)[1].startswith("no rule removes unfinished uploads:")
    assert "uploads and old versions" in tidied()[1]
    none = _states(get_bucket_lifecycle_configuration="NoSuchLifecycleConfiguration")
    assert none["tidied"] == "bad"
    assert _states(get_bucket_lifecycle_configuration="NotImplemented")["tidied"] == "unknown"


def test_a_write_says_the_encryption_that_the_bucket_wants() -> None:
    kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}
    for rule, expected in ((AES, {"ServerSideEncryption": "AES256"}), (KMS, kms), ({}, {})):
        bucket = _Bucket(get_bucket_encryption=_rule(rule))
        assert s3_checks.write_encryption(bucket) == expected
    assert s3_checks.write_encryption(_Bucket(get_bucket_encryption="AccessDenied")) == {}


@pytest.mark.parametrize("puts", [("NotImplemented",), ("", "")])
def test_a_store_without_conditional_writes_is_refused_by_name(puts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"https://s3 lets a name be written twice .*SeaweedFS"):
        s3_checks.prove_conditional_writes(_Bucket(*puts), {})


def test_a_store_with_conditional_writes_passes() -> None:
    s3_checks.prove_conditional_writes(_Bucket("", "PreconditionFailed"), {})
    with pytest.raises(ConfigError, match="not allowed to write"):
        s3_checks.prove_conditional_writes(_Bucket("AccessDenied"), {})

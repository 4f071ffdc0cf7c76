"""Which remote is used: an absolute folder or a bucket, by the variable or by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.settings.errors import ConfigError
from tasks.tracking.remote.opening import open_remote, require_remote


def test_the_variable_names_the_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARRING_REMOTE", raising=False)
    assert open_remote() is None
    with pytest.raises(ConfigError, match="set SPARRING_REMOTE to"):
        require_remote()
    monkeypatch.setenv("SPARRING_REMOTE", f"{tmp_path}/")
    assert require_remote() is open_remote(str(tmp_path))
    assert require_remote().url == str(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["shared", "~/shared", "gs://bucket", "file:///tmp", "s3://", "s3://B", "s3://a:b@host/x",
     "s3://bucket/a/../b", "s3://bucket/a//b"],
)  # fmt: skip
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="s3://"):
        open_remote(url)

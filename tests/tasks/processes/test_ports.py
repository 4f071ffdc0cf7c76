"""A free port is found, and the one that is wished for is taken where it is free."""

from __future__ import annotations

import socket

import pytest

from tasks.processes.ports import free_port, is_free
from tasks.settings.errors import StageError


def test_a_wish_is_granted_while_the_port_is_free() -> None:
    wish = free_port()
    assert is_free("127.0.0.1", wish)
    assert free_port(wish) == wish
    with socket.create_server(("127.0.0.1", wish)):
        assert not is_free("127.0.0.1", wish)
        assert free_port(wish) != wish
    assert free_port(wish) == wish


def test_an_address_of_another_machine_has_no_port_for_us() -> None:
    with pytest.raises(StageError, match=r"no free port on 192\.0\.2\.1"):
        free_port(None, "192.0.2.1")

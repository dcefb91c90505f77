"""Sockets on which a service listens."""

from __future__ import annotations

import socket

import pytest

from constrained_ner.errors import UserError
from constrained_ner.service.serving import listen


def test_answers_do_not_wait_to_be_confirmed_piece_by_piece() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}"):
            listen("127.0.0.1", port)

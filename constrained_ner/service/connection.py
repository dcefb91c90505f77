"""HTTP for the service: uvicorn's with the parser in C, and a bound for heads, which it lacks."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_BYTES = 32_768


class BoundedHeads(HttpToolsProtocol):
    """A connection that is closed if a client sends more than so many bytes that are not part of a body."""

    _n_beside_body = 0

    def data_received(self, data: bytes) -> None:
        self._n_beside_body += len(data)
        super().data_received(data)
        if self._n_beside_body <= _HEAD_BYTES or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("The head of the request is too large.")
        else:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._n_beside_body = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._n_beside_body = 0
        super().on_body(body)

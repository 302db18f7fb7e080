"""A TCP proxy on this machine that can lose an answer: the server has done the work, and the client never hears of it."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
_CHUNK = 65_536


class Proxy:
    """Forwards every connection to `target`, a (host, port) or the path of a Unix socket.

    `cut_after(words)` arms it once: of the next request that contains these bytes the answer is awaited and thrown away,
    and both sides are closed. `cut_before(words)` throws the request itself away. `round_trips` counts the requests that
    were followed by an answer.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._words: bytes | None = None
        self._before = False
        self._refusing = False
        self.cuts = 0
        """How many connections were cut as armed."""
        self.round_trips = 0
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def address(self) -> tuple[str, int]:
        """Where a client finds it."""
        return HOST, self.port

    def cut_after(self, words: bytes) -> None:
        """Lose the answer to the next request that contains `words`."""
        with self._lock:
            self._words, self._before = words, False

    def cut_before(self, words: bytes) -> None:
        """Lose the next request that contains `words`."""
        with self._lock:
            self._words, self._before = words, True

    def refuse(self, refusing: bool = True) -> None:
        """Close, or let through again, every new connection: with this before `cut_after` no retry gets through."""
        self._refusing = refusing

    def drop_all(self) -> None:
        """Close every connection that is open."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            _shut(each)

    def close(self) -> None:
        """End it, with every connection."""
        _shut(self._listener)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(60)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            for side in (client, server):
                if side.family != socket.AF_UNIX:
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            pair = _Pair(self, client, server)
            self._start(pair.forward_requests)
            self._start(pair.forward_answers)

    def _connect(self) -> socket.socket:
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                server.close()
                raise
            return server
        return socket.create_connection(self._target)

    def armed_for(self, request: bytes) -> str | None:
        """Disarm and say which half is to be lost, if this is the request."""
        with self._lock:
            if self._words is None or self._words not in request:
                return None
            self._words = None
            self.cuts += 1
            return "request" if self._before else "answer"

    def count(self) -> None:
        """Count a round trip."""
        with self._lock:
            self.round_trips += 1

    def forget(self, *sockets: socket.socket) -> None:
        """Close the sockets of a connection that ended."""
        with self._lock:
            self._sockets -= set(sockets)
        for each in sockets:
            each.close()


class _Pair:
    """One connection, forwarded by two threads; whoever is last closes both sockets."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._waiting = self._losing = False
        self._ends = 0
        self._lock = threading.Lock()

    def forward_requests(self) -> None:
        """Forward what the client sends, and watch for the words, also across two pieces."""
        tail = b""
        while data := _receive(self._client):
            if not self._waiting:
                tail = b""  # the request before was answered: its words are not this one's
            lost = self._proxy.armed_for(tail + data)
            tail = (tail + data)[-200:]
            if lost == "request":
                break
            if lost == "answer":
                self._losing = True
            self._waiting = True
            if not _send(self._server, data):
                break
        if not self._losing:
            self._end_both()
        self._done()

    def forward_answers(self) -> None:
        """Forward what the server sends, unless it is to be lost."""
        while data := _receive(self._server):
            if self._losing:
                break
            if self._waiting:
                self._waiting = False
                self._proxy.count()
            if not _send(self._client, data):
                break
        self._end_both()
        self._done()

    def _end_both(self) -> None:
        _shut(self._client)
        _shut(self._server)

    def _done(self) -> None:
        with self._lock:
            self._ends += 1
            last = self._ends == 2
        if last:
            self._proxy.forget(self._client, self._server)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except OSError:
        return b""


def _send(sink: socket.socket, data: bytes) -> bool:
    try:
        sink.sendall(data)
    except OSError:
        return False
    return True


def _shut(each: socket.socket) -> None:
    with suppress(OSError):  # it is closed, or was never connected
        each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(target: tuple[str, int] | str) -> Iterator[Proxy]:
    """Run a proxy in front of `target`."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()

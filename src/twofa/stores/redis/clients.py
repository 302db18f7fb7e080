"""Which clients and servers a store is content with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twofa.stores.redis.commands import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twofa.stores.redis.commands import Talk

_OLDEST = 7
"""The first version whose scripts can say `#!lua`."""
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
    """Raise `TypeError` unless it is a client of the right kind that nobody else's transaction can get into."""
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


def ask(nodes: Iterable[object]) -> Talk[None]:
    """Ask servers about themselves, and raise `RuntimeError` at one that would lose or has not got the last word."""
    for node in nodes:
        try:
            info = yield Command(("INFO",), node)
        except Exception as error:
            error.add_note("while asking the server whether it evicts keys: allow_eviction=True asks nothing")
            raise
        judge(info)


def judge(info: Mapping[str, object]) -> None:
    """Raise `RuntimeError` unless what a server says of itself is good for records."""
    version = str(info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < _OLDEST:
        raise RuntimeError(f"the server is Redis {version}, and the store needs Redis {_OLDEST} or Valkey")
    if info.get("role") != "master":
        raise RuntimeError("the server is a replica: point the client at the primary, which alone has every used code")
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        raise RuntimeError(
            f"the server evicts keys when its memory is full (maxmemory-policy {policy}), and a second factor that is "
            "gone protects nobody: set maxmemory-policy noeviction, or say allow_eviction=True"
        )

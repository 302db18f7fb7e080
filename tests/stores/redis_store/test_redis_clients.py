"""Which clients and servers the Redis stores accept, and that they all speak the same."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_stores import FEW
from support import USER
from valkey_server import HOST, on_redis, valkey_server

from twofa import Change
from twofa.stores.redis import AsyncRedisStore, RedisStore
from twofa.stores.redis.clients import check_client, check_server
from twofa.stores.redis.layout import DEFAULT_SHARDS
from twofa.testing.samples import LOOKALIKES, event, numbers, stored, version

if TYPE_CHECKING:
    from contextlib import ExitStack

    from valkey_server import ValkeyServer

pytestmark = on_redis


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
def test_an_evicting_server_is_refused(policy: str, prefix: str) -> None:
    """A server that may drop a record is refused, by both faces, unless it is allowed."""
    with valkey_server(maxmemory_policy=policy) as server, redis.Redis.from_url(server.url) as client:
        with pytest.raises(RuntimeError, match=rf"maxmemory-policy {policy}.*allow_eviction=True"):
            RedisStore(client, prefix=prefix)
        assert RedisStore(client, prefix=prefix, allow_eviction=True).load(USER) is None

        async def main() -> None:
            async with redis.asyncio.Redis.from_url(server.url) as own:
                with pytest.raises(RuntimeError, match=f"maxmemory-policy {policy}"):
                    await AsyncRedisStore.open(own, prefix=prefix)
                lazy = AsyncRedisStore(own, prefix=prefix)
                for _ in range(2):
                    with pytest.raises(RuntimeError, match=f"maxmemory-policy {policy}"):
                        await lazy.load(USER)
                with pytest.raises(RuntimeError, match=f"maxmemory-policy {policy}"):
                    await lazy.swap(USER, Change(None, stored(1)))
                allowed = await AsyncRedisStore.open(own, prefix=prefix, allow_eviction=True)
                assert await allowed.load(USER) is None

        asyncio.run(main())


def test_a_server_is_asked_once(server: ValkeyServer, store: RedisStore, prefix: str) -> None:
    """An asynchronous store asks when it is first used, and not again."""
    asked: list[object] = []

    class Listening(redis.asyncio.Redis):
        async def execute_command(self, *words: Any, **options: Any) -> Any:
            asked.append(words[0])
            return await super().execute_command(*words, **options)

    async def main() -> None:
        async with Listening.from_url(server.url) as client:
            store = AsyncRedisStore(client, prefix=prefix)
            assert [] == asked
            for _ in range(3):
                await store.load(USER)

    store.load(USER)  # so that the server knows the script
    asyncio.run(main())
    assert ["INFO", "EVALSHA", *["EVALSHA"] * 3] == asked  # the server, the marker, and three records


def test_every_node_of_a_cluster_is_asked(cluster: list[ValkeyServer], prefix: str, closing: ExitStack) -> None:
    """One node that evicts is enough to be refused, whichever it is."""

    async def main() -> None:
        async with redis.asyncio.RedisCluster(host=HOST, port=cluster[0].port) as client:
            await AsyncRedisStore.open(client, prefix=prefix, shards=FEW)

    client = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    for node in cluster:
        own = closing.enter_context(redis.Redis.from_url(node.url))
        own.config_set("maxmemory-policy", "allkeys-lfu")
        closing.callback(own.config_set, "maxmemory-policy", "noeviction")
        with pytest.raises(RuntimeError, match="maxmemory-policy allkeys-lfu"):
            RedisStore(client, prefix=prefix, shards=FEW)
        with pytest.raises(RuntimeError, match="maxmemory-policy allkeys-lfu"):
            asyncio.run(main())
        own.config_set("maxmemory-policy", "noeviction")
    RedisStore(client, prefix=prefix, shards=FEW)


def test_a_server_that_must_not_be_asked_raises_and_says_what_to_do(server: ValkeyServer, prefix: str) -> None:
    """P3: where INFO is forbidden nobody knows whether the server is the primary, and the error says what to allow."""
    with redis.Redis.from_url(server.url) as admin:
        admin.acl_setuser("mute", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
        with redis.Redis.from_url(server.url, username="mute", password="any") as client:
            with pytest.raises(redis.exceptions.NoPermissionError) as refused:
                RedisStore(client, prefix=prefix, allow_eviction=True)
            assert ["the store needs the command INFO: ACL SETUSER … +info"] == refused.value.__notes__
        admin.acl_deluser("mute")


def test_a_server_that_is_not_there_raises(prefix: str) -> None:
    """What the driver raises for a server that it cannot reach comes through as it is."""
    with redis.Redis(host=HOST, port=1, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(redis.ConnectionError) as failure:
            RedisStore(client, prefix=prefix)
        assert not hasattr(failure.value, "__notes__")


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.2.14"}, "the server is Redis 6.2.14, and the store needs Redis 7 or Valkey"),
        ({}, "the server is Redis 0, and"),
        ({"redis_version": "8.0.1", "role": "slave"}, "the server is a replica"),
        ({"redis_version": "7.2.4", "role": "master"}, "maxmemory-policy None"),
        ({"redis_version": "7.2.4", "role": "master", "cluster_enabled": 1}, "pass a RedisCluster, which finds the"),
    ],
)
def test_a_server_that_is_unfit_or_does_not_say_is_refused(info: dict[str, object], words: str) -> None:
    """An old server is refused by its version, and one that does not tell its policy as one that evicts."""
    with pytest.raises(RuntimeError, match=words):
        check_server(info, cluster=False, allow_eviction=False)


def refusal(kind: Any, client: Any) -> str:
    """Return the message with which a client is refused."""
    with pytest.raises(TypeError) as refused:
        kind(client)
    return str(refused.value)


def test_a_transaction_of_the_host_is_refused(
    client: redis.Redis, cluster: list[ValkeyServer], closing: ExitStack
) -> None:
    """A pipeline is refused, with the reason: what it would take along must not be given up with it."""
    on_cluster = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    for pipeline in (client.pipeline(), client.pipeline(transaction=False), on_cluster.pipeline()):
        assert "not a pipeline" in refusal(RedisStore, pipeline)
        assert "undo the count of a refused code" in refusal(RedisStore, pipeline)
    asynchronous = redis.asyncio.Redis()
    assert "not a pipeline" in refusal(AsyncRedisStore, asynchronous.pipeline())


def test_only_a_client_of_the_right_kind_is_taken(client: redis.Redis, server: ValkeyServer) -> None:
    """What is no client is refused, and a client that is for the other face is sent there."""
    for wrong in (None, server.url, client.connection_pool, client.pubsub(), object()):
        assert "RedisStore takes a redis.Redis or redis.RedisCluster, not" in refusal(RedisStore, wrong)
        assert "takes a redis.asyncio.Redis or" in refusal(AsyncRedisStore, wrong)
    assert "a client that is blocking: this one is for AsyncRedisStore" in refusal(RedisStore, redis.asyncio.Redis())
    assert "a client that is asynchronous: this one is for RedisStore" in refusal(AsyncRedisStore, client)


def test_a_single_connection_is_refused(server: ValkeyServer, closing: ExitStack) -> None:
    """A client with one connection may have a transaction open on it."""
    single = closing.enter_context(redis.Redis(host=HOST, port=server.port, single_connection_client=True))
    assert "has a single connection" in refusal(RedisStore, single)
    assert "has a single connection" in refusal(AsyncRedisStore, redis.asyncio.Redis(single_connection_client=True))


def test_a_client_of_replicas_is_refused() -> None:
    """What Sentinel gives for reading is refused."""
    sentinel = redis.Sentinel([(HOST, 1)])
    assert "Sentinel.master_for()" in refusal(RedisStore, sentinel.slave_for("service"))
    check_client(sentinel.master_for("service"), "RedisStore", asynchronous=False)


@pytest.mark.parametrize("prefix", ["", "a{b", "a}", "a b", "caf\u00e9", "x\n", "x" * 65])
def test_a_prefix_that_could_mislead_is_refused(prefix: str, client: redis.Redis) -> None:
    """A brace in the prefix would decide about the node, and a name has to be one that can be typed."""
    with pytest.raises(ValueError, match="prefix must be 1 to 64 ASCII characters without spaces and braces, not '"):
        RedisStore(client, prefix=prefix)


def test_a_prefix_is_text(client: redis.Redis) -> None:
    """Bytes are refused by name."""
    wrong: Any = b"twofa"
    with pytest.raises(TypeError, match="prefix must be a str, not bytes"):
        RedisStore(client, prefix=wrong)


@pytest.mark.parametrize(
    ("shards", "error", "words"),
    [
        (0, ValueError, "shards must be 1 to 16384, not 0"),
        (16_385, ValueError, "shards must be 1 to 16384, not 16385"),
        (True, TypeError, "shards must be an int, not bool"),
        ("256", TypeError, "shards must be an int, not str"),
    ],
)
def test_a_number_of_shards_that_cannot_be_is_refused(shards: Any, error: Any, words: str, client: redis.Redis) -> None:
    """There are as many shards as a cluster has slots, at most."""
    with pytest.raises(error, match=words):
        RedisStore(client, shards=shards)


def test_a_single_client_of_a_cluster_is_refused(cluster: list[ValkeyServer], prefix: str) -> None:
    """A client that knows one node of a cluster is refused before it creates anything."""
    with redis.Redis.from_url(cluster[0].url) as client:
        with pytest.raises(RuntimeError, match="the server is a node of a cluster: pass a RedisCluster"):
            RedisStore(client, prefix=prefix)
        assert [] == [key for key in client.scan_iter() if key.startswith(f"{{{prefix}:".encode())]


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}, {"encoding": "latin-1"}])
@pytest.mark.parametrize("kind", [redis.Redis, valkey.Valkey])
def test_every_client_speaks_the_same(
    kind: Any, options: dict[str, Any], server: ValkeyServer, store: RedisStore, prefix: str
) -> None:
    """Whatever a client decodes for others, whichever protocol it speaks and whoever it is by, the data are the same."""
    with kind.from_url(server.url, **options) as client:
        own = RedisStore(client, prefix=prefix)
        for number, user_id in enumerate(LOOKALIKES[:20]):
            assert own.swap(user_id, Change(None, stored(number), (event(number, user_id),)))
            assert stored(number) == own.load(user_id) == store.load(user_id)
            assert own.events(user_id) == store.events(user_id)
        assert (store.user_ids(), store.events_after()) == (own.user_ids(), own.events_after())


@pytest.mark.parametrize("kind", [valkey.asyncio.Valkey, valkey.asyncio.ValkeyCluster, redis.asyncio.RedisCluster])
def test_every_asynchronous_client_speaks_the_same(kind: Any, cluster: list[ValkeyServer], prefix: str) -> None:
    """The same for the asynchronous clients; Redis and Valkey have classes of their own."""

    async def main(port: int) -> None:
        async with kind(host=HOST, port=port, decode_responses=True) as client:
            store = await AsyncRedisStore.open(client, prefix=prefix, shards=FEW)
            await client.script_flush()
            assert await store.swap(USER, Change(None, stored(1), (event(1),)))
            assert (stored(1), (event(1),)) == (await store.load(USER), await store.events(USER))
            assert ((USER,), 1) == (await store.user_ids(), len(await store.events_after()))

    with valkey_server() as single:
        asyncio.run(main(cluster[0].port if "Cluster" in kind.__name__ else single.port))


def test_a_cluster_client_that_prefers_replicas_reads_the_primary(
    cluster: list[ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """What a store reads it reads by a script, which no client sends to a replica."""
    strategies: Any = getattr(redis.cluster, "LoadBalancingStrategy", None)
    option = (
        {"load_balancing_strategy": strategies.ROUND_ROBIN_REPLICAS} if strategies else {"read_from_replicas": True}
    )
    client = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port, **option))
    store = RedisStore(client, prefix=prefix, shards=FEW)
    assert store.swap(USER, Change(None, stored(1)))
    assert stored(1) == store.load(USER)
    assert not {"EVALSHA", "EVAL"} & set(redis.commands.READ_COMMANDS)


def test_both_faces_find_the_same_wrong_with_a_server(
    server: ValkeyServer, store: RedisStore, cluster: list[ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """A clock that is off, of the only server or of each node of a cluster, is found by either face."""
    nodes = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    spread = RedisStore(nodes, prefix=prefix, shards=FEW)

    async def main(client: Any, shards: int) -> list[str]:
        async with client:
            asynchronous = await AsyncRedisStore.open(client, prefix=prefix, create=False, shards=shards)
            return [finding.code for finding in await asynchronous.diagnose(0)]

    single = asyncio.run(main(redis.asyncio.Redis.from_url(server.url), DEFAULT_SHARDS))
    several = asyncio.run(main(redis.asyncio.RedisCluster(host=HOST, port=cluster[0].port), FEW))

    assert ["clock_differs"] == single == [finding.code for finding in store.diagnose(0)]
    assert ["clock_differs"] * len(cluster) == several == [finding.code for finding in spread.diagnose(0)]


def test_a_server_that_forgot_the_scripts_is_told_them_again(
    client: redis.Redis, store: RedisStore, cluster: list[ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """After a flush, a restart or a failover the next call brings its script along, on every node."""
    store.swap(USER, Change(None, stored(1), (event(1),)))
    client.script_flush()
    assert store.swap(USER, Change(version(1), stored(2), (event(2),)))
    client.script_flush()
    assert (stored(2), [1, 2]) == (store.load(USER), numbers(store))
    nodes = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    spread = RedisStore(nodes, prefix=f"{prefix}c", shards=FEW)
    each = [closing.enter_context(redis.Redis.from_url(node.url)) for node in cluster]
    for number, user_id in enumerate(LOOKALIKES[:10]):
        for node in each:
            node.script_flush()
        assert spread.swap(user_id, Change(None, stored(number)))
        assert stored(number) == spread.load(user_id)


def test_both_faces_have_the_same_methods() -> None:
    """Whatever the blocking store can, the asynchronous one can, with the same parameters."""
    named = [name for name in vars(RedisStore) if not name.startswith("_")]
    assert ["load", "swap", "events", "events_after", "prune_events", "user_ids", "diagnose"] == named
    for name in [*named, "__init__"]:
        own, other = getattr(RedisStore, name), getattr(AsyncRedisStore, name)
        assert (
            list(inspect.signature(own).parameters.items())[2:] == list(inspect.signature(other).parameters.items())[2:]
        )
        assert name == "__init__" or inspect.iscoroutinefunction(other)


def test_a_store_tells_its_prefix_and_no_password(client: redis.Redis) -> None:
    """The representation of a store can be logged."""
    assert "RedisStore(prefix='app')" == repr(RedisStore(client, prefix="app"))
    assert "AsyncRedisStore(prefix='app')" == repr(AsyncRedisStore(redis.asyncio.Redis(), prefix="app"))


def test_without_a_driver_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither Redis' nor Valkey's client is installed, the error names the extra; either of them will do."""
    for name in [name for name in sys.modules if name.startswith("twofa.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "valkey", None)
    with pytest.raises(ImportError, match=r'pip install "twofa-core\[redis\]"'):
        import_module("twofa.stores.redis")
    monkeypatch.setitem(sys.modules, "valkey", valkey)
    assert import_module("twofa.stores.redis").RedisStore
    for name in [name for name in sys.modules if name.startswith("twofa.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)


def test_nobody_else_pays_for_it() -> None:
    """Neither the package nor its other stores load a driver."""
    program = "import sys, twofa, twofa.stores; twofa.stores.SQLiteStore; print('redis' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False\n" == ran.stdout

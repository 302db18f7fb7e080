"""What the Redis store costs: a login, memory, the outbox, pruning, and moving a shard to another node.

It measures the Valkey of the tests, or another server with `BENCH_REDIS=redis`, which has to be installed. Everything
is on this machine. `BENCH_REPETITIONS` sets how many calls each median is taken from, `BENCH_SECONDS` how long several
clients sign in, `BENCH_REDIS_USERS` how many users there are, with commas.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from accounts import Account, synthetic_record
from measure import NOW, medians, print_lines, setting
from servers import helper

from twofa import Change, Event, EventKind, Stored
from twofa.stores.redis import RedisStore

servers = helper("valkey_server")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

ENGINE = os.environ.get("BENCH_REDIS", "valkey")
CLIENTS = 4
AT = datetime.fromtimestamp(NOW, UTC)
BARE = """#!lua
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'document', ARGV[3])
redis.call('XADD', KEYS[2], '*', 'user', ARGV[4], 'at', ARGV[5], 'kind', 'code_accepted', 'detail', '{}')
return 1
"""


def accepted(user_id: str) -> Event:
    """Return the event of a login."""
    return Event(
        EventKind.CODE_ACCEPTED, user_id, AT, source="192.0.2.1", detail={"operation": "verify", "step_offset": 0}
    )


def enrolment(user_id: str) -> tuple[Event, ...]:
    """Return the events of an enrolment and a login."""
    kinds = (EventKind.SETUP_BEGUN, EventKind.AUTHENTICATOR_CONFIRMED, EventKind.RECOVERY_CODES_ISSUED)
    return (
        *(Event(kind, user_id, AT, source="192.0.2.1", detail={"remaining": 10}) for kind in kinds),
        accepted(user_id),
    )


def fill(client: redis.Redis, users: int) -> RedisStore:
    """Enrol users, all with one document of the size of a real one."""
    store = RedisStore(client)
    document = synthetic_record("user").document
    for number in range(users):
        user_id = f"user-{number:08}"
        store.swap(user_id, Change(None, Stored(os.urandom(16).hex(), document), enrolment(user_id)))
    return store


def sign_in(store: RedisStore, user_id: str) -> bool:
    """Do what a login does to the store."""
    held = store.load(user_id)
    if held is None:
        raise AssertionError("the record is gone")
    return store.swap(user_id, Change(held.version, Stored(os.urandom(16).hex(), held.document), (accepted(user_id),)))


def sign_in_anyone(store: RedisStore, users: int) -> bool:
    """Sign in a user drawn at random."""
    return sign_in(store, f"user-{random.randrange(users):08}")


class BareRedis:
    """What a login cannot do without, in the bare driver: read the record; one script that replaces it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client, self._script = client, client.script_load(BARE)
        self._document = synthetic_record("user").document
        client.hset("{bare}:record", mapping={"version": "none", "document": self._document})

    def login(self) -> None:
        """Read the record and write it again, with its event."""
        version, document = self._client.hmget("{bare}:record", "version", "document")
        new = os.urandom(16).hex()
        words = ("EVALSHA", self._script, 2, "{bare}:record", "{bare}:events", version, new, document, "user-42", NOW)
        client: Any = self._client
        if client.execute_command(*words) != 1:
            raise AssertionError("the record was changed meanwhile")


Line = tuple[str, str]


def logins(repetitions: int) -> Iterator[Line]:
    """Compare a login with its bare commands, with the durability that the documentation asks for."""
    with servers.valkey_server(ENGINE) as server, redis.Redis.from_url(server.url) as client:
        store, bare = RedisStore(client), BareRedis(client)
        account = Account(store, "user-42").enrol()
        right, wrong = account.right_codes(repetitions), account.wrong_codes(repetitions)
        calls: dict[str, Callable[[], object]] = {
            "right": lambda: account.sign_in(*next(right)),
            "bare": bare.login,
            "wrong": lambda: account.fail(*next(wrong)),
        }
        found = medians(calls, repetitions)
        yield (
            f"login ({found['right'] / 1000:.0f} µs against {found['bare'] / 1000:.0f} µs), `appendfsync always`",
            f"{found['right'] / found['bare']:.2f} × its bare commands",
        )
        yield "a wrong code", f"{found['wrong'] / found['right']:.2f} × a right one"


def work(url: str, users: int, seconds: float, first: int, report: Connection) -> None:
    """Sign users in, as one of several processes."""
    with redis.Redis.from_url(url) as client:
        store = RedisStore(client, create=False)
        end, done = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            done += sign_in(store, f"user-{random.randrange(first, users, CLIENTS):08}")
    report.send(done)


def several(url: str, users: int, seconds: float) -> int:
    """Let processes sign users in; return how many logins there were."""
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(CLIENTS)]
    workers = [
        multiprocessing.Process(target=work, args=(url, users, seconds, number, sender))
        for number, (_, sender) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    done: int = sum(receiver.recv() for receiver, _ in pipes)
    for worker in workers:
        worker.join()
    return done


def processor_time(client: redis.Redis) -> float:
    """Return the seconds that the server has worked so far."""
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"])


def capacity(seconds: float, users: int) -> Iterator[Line]:
    """Find how long the server works for a login, and for a reader of the outbox, who takes that time from logins."""
    with servers.valkey_server(ENGINE, appendfsync="everysec") as server, redis.Redis.from_url(server.url) as client:
        store = fill(client, users)
        start = processor_time(client)
        done = several(server.url, users, seconds)
        login = (processor_time(client) - start) / done
        yield f"the server works for a login, {CLIENTS} clients", f"{login * 1e6:.0f} µs: {1 / login:,.0f} a second"

        start, cursor, read = processor_time(client), "", 0
        while page := store.events_after(cursor, 1000):
            cursor, read = page[-1].cursor, read + len(page)
        event = (processor_time(client) - start) / read
        yield f"and to hand on an event, in pages of 1,000 ({read:,} events)", f"{event * 1e6:.1f} µs"
        start = processor_time(client)
        for _ in range(1000):
            store.events_after(cursor)
        page_ = (processor_time(client) - start) / 1000
        yield "and for a page where nothing is new", f"{page_ * 1e6:.0f} µs"


def growth(sizes: list[int], repetitions: int) -> Iterator[Line]:
    """Find what a user takes in memory, and whether a login takes longer with more of them."""
    with ExitStack() as stack:
        calls: dict[str, Callable[[], object]] = {}
        for users in sizes:
            server = stack.enter_context(servers.valkey_server(ENGINE, appendonly="no"))
            client = stack.enter_context(redis.Redis.from_url(server.url))
            empty = client.info("memory")["used_memory"]
            store = fill(client, users)
            taken = (client.info("memory")["used_memory"] - empty) / users
            yield f"memory of a user with four events, {users:,} users", f"{taken:,.0f} bytes"
            start = client.info("memory")["used_memory"]
            for number in range(1000):
                sign_in(store, f"user-{number % users:08}")
            event = (client.info("memory")["used_memory"] - start) / 1000
            yield f"memory of one more event, {users:,} users", f"{event:,.0f} bytes"
            calls[f"{users:,}"] = partial(sign_in_anyone, store, users)
        found = medians(calls, repetitions)
        for name, nanoseconds in found.items():
            yield f"load and swap, {name} users, taking turns", f"{nanoseconds / 1000:.0f} µs"


def outbox(users: int) -> Iterator[Line]:
    """Find what pages of the outbox cost, and pruning."""
    with servers.valkey_server(ENGINE, appendfsync="everysec") as server, redis.Redis.from_url(server.url) as client:
        store = fill(client, users)
        last = store.events_after(limit=10 * users)[-1].cursor
        pages: dict[str, Callable[[], object]] = {
            "a page of 100 events out of a backlog": lambda: store.events_after("", 100),
            "a page of 1,000 events out of a backlog": lambda: store.events_after("", 1000),
            "a page where nothing is new": lambda: store.events_after(last),
        }
        for what, nanoseconds in medians(pages, 50).items():
            yield what, f"{nanoseconds / 1e6:.1f} ms"
        client.config_set("latency-tracking", "yes")
        client.config_resetstat()
        start = time.perf_counter()
        erased = store.prune_events(AT + timedelta(days=1))
        rate = erased / (time.perf_counter() - start)
        longest = client.info("latencystats")["latency_percentiles_usec_evalsha"]
        yield f"pruning {erased:,} events", f"{rate:,.0f} a second, the longest script {longest['p99.9'] / 1000:.1f} ms"


def moving(sizes: list[int]) -> Iterator[Line]:
    """Find how long a node is held up while a shard moves to another one."""
    with servers.valkey_cluster(ENGINE, appendfsync="everysec") as nodes, ExitStack() as stack:
        client: Any = stack.enter_context(redis.RedisCluster.from_url(nodes[0].url))
        clients = [stack.enter_context(redis.Redis.from_url(node.url)) for node in nodes]
        for users in sizes:
            store = RedisStore(client, prefix=f"move{users}", shards=1)
            document = synthetic_record("user").document
            for number in range(users):
                user_id = f"user-{number:08}"
                store.swap(user_id, Change(None, Stored(os.urandom(16).hex(), document), enrolment(user_id)))
            key = store._opened.layout.keys[0]
            source = nodes.index(next(node for node in nodes if node.port == client.get_node_from_key(key).port))
            size = clients[source].memory_usage(key, samples=0)
            start = time.perf_counter()
            dumped = clients[source].dump(key)
            took = time.perf_counter() - start
            with servers.valkey_server(ENGINE, appendonly="no") as other, redis.Redis.from_url(other.url) as target:
                start = time.perf_counter()
                target.restore(key, 0, dumped)
                took += time.perf_counter() - start
            yield f"a shard of {users:,} users, {size / 1e6:.0f} MB: to dump and restore it", f"{took * 1000:.0f} ms"


def main() -> None:
    """Print the table."""
    repetitions = int(setting("BENCH_REPETITIONS", 2000))
    seconds = setting("BENCH_SECONDS", 10)
    sizes = [int(each) for each in os.environ.get("BENCH_REDIS_USERS", "1000,100000").split(",")]

    def every() -> Iterator[tuple[str, bool]]:
        for part in (
            logins(repetitions),
            capacity(seconds, min(20_000, max(sizes))),
            outbox(min(20_000, max(sizes))),
            growth(sizes, repetitions),
            moving([users for users in (1000, 5000, 10_000, 50_000) if users <= max(sizes)]),
        ):
            for what, found in part:
                yield f"| {what} | {found} |", True

    print_lines("| what | measured |", every())


if __name__ == "__main__":
    main()

"""A small copy of a large cluster: sixteen nodes and as many shards as a cluster has slots, with fewer users.

It shows what does not depend on the number of users, for `docs/scale.md`: whether nodes get the same share, and what
the outbox of so many shards costs. `BENCH_SCALE_USERS` sets how many users there are.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import redis
from accounts import synthetic_record
from measure import print_lines, setting
from redis_store import enrolment, processor_time, sign_in
from servers import helper

from twofa import Change, Stored
from twofa.stores.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODES, SHARDS = 16, 16_384
servers = helper("valkey_server")


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def range_of(figures: list[float]) -> str:
    """Say between which figures all are, as parts of their mean."""
    mean = sum(figures) / len(figures)
    return f"{min(figures) / mean:.0%} to {max(figures) / mean:.0%} of the mean"


def measured(users: int) -> Iterator[tuple[str, str]]:
    """Yield what was found."""
    with servers.valkey_cluster("valkey", NODES, appendonly="no") as nodes, ExitStack() as stack:
        cluster: Any = stack.enter_context(redis.RedisCluster.from_url(nodes[0].url))
        clients = [stack.enter_context(redis.Redis.from_url(node.url)) for node in nodes]
        yield f"creating {SHARDS:,} shards", f"{seconds(lambda: RedisStore(cluster, shards=SHARDS)):.1f} s"
        yield "opening them", f"{seconds(lambda: RedisStore(cluster, shards=SHARDS)) * 1000:.0f} ms"
        store = RedisStore(cluster, shards=SHARDS)
        yield "shards of a node", range_of([float(client.dbsize()) for client in clients])

        empty = [client.info("memory")["used_memory"] for client in clients]
        document = synthetic_record("user").document
        for number in range(users):
            user_id = f"user-{number:09}"
            store.swap(user_id, Change(None, Stored(os.urandom(16).hex(), document), enrolment(user_id)))
        taken = [client.info("memory")["used_memory"] - before for client, before in zip(clients, empty, strict=True)]
        yield f"memory of {users:,} users on a node", range_of(taken)

        before = [processor_time(client) for client in clients]
        for number in range(users):
            sign_in(store, f"user-{number:09}")
        spent = [processor_time(client) - start for client, start in zip(clients, before, strict=True)]
        yield "work of a node when each user signs in", range_of(spent)

        yield "a page of 10,000 events", f"{seconds(lambda: store.events_after(limit=10_000)):.1f} s"
        last = store.events_after(limit=10 * users)[-1].cursor
        yield "a page where nothing is new", f"{seconds(lambda: store.events_after(last)):.1f} s"


def main() -> None:
    """Print the table."""
    users = int(setting("BENCH_SCALE_USERS", 50_000))
    print_lines("| what | measured |", ((f"| {what} | {found} |", True) for what, found in measured(users)))


if __name__ == "__main__":
    main()

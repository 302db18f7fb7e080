"""What a host has asked of a store, checked."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from twofa.stores.redis.layout import Layout, make_layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The arguments of `RedisStore` and `AsyncRedisStore`, except for the client."""

    layout: Layout
    cluster: bool
    """Whether the client spreads its commands over the nodes of a cluster."""
    create: bool
    allow_eviction: bool
    replicas: int
    replica_timeout: float
    """Seconds."""


def check_settings(
    client: object,
    *,
    prefix: str,
    shards: int,
    create: bool,
    allow_eviction: bool,
    replicas: int,
    replica_timeout: float,
) -> Settings:
    """Check arguments. Raises `TypeError` or `ValueError` for those that cannot be used."""
    cluster = hasattr(client, "get_primaries")
    if type(replicas) is not int:
        raise TypeError(f"replicas must be an int, not {type(replicas).__name__}")
    if replicas < 0:
        raise ValueError(f"replicas must not be negative: {replicas}")
    if replicas and cluster:
        # WAIT has to be sent on the connection of the swap, and the clients of a cluster cannot be told to do so.
        raise ValueError("replicas= is for a single primary and its replicas: on a cluster, see min-replicas-to-write")
    if not (isfinite(replica_timeout) and replica_timeout > 0):  # WAIT would take 0 for "as long as it takes"
        raise ValueError(f"replica_timeout must be a positive number of seconds, not {replica_timeout}")
    return Settings(
        layout=make_layout(prefix, shards),
        cluster=cluster,
        create=create,
        allow_eviction=allow_eviction,
        replicas=replicas,
        replica_timeout=replica_timeout,
    )

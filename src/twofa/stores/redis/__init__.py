"""`RedisStore` and `AsyncRedisStore`: records in Redis or Valkey, on one server or a cluster."""

from __future__ import annotations

try:
    import redis as _driver
except ImportError as missing:
    try:
        import valkey as _driver  # type: ignore[import-not-found,no-redef,unused-ignore]  # the same interface
    except ImportError:
        raise ImportError(
            'the Redis stores need a driver, which is not installed: pip install "twofa-core[redis]"'
        ) from missing

from twofa.stores.redis.store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]

del _driver

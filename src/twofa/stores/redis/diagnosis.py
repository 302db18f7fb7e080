"""What `python -m twofa check` asks a server, or every primary of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twofa.stores import findings
from twofa.stores.protocol import Finding
from twofa.stores.redis.exchange import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from twofa.stores.redis.exchange import Exchange


def diagnose(nodes: Iterable[object], now: float) -> Exchange[tuple[Finding, ...]]:
    """Return what is wrong with the servers. `CONFIG`, which many providers forbid, is asked but not needed."""
    found: list[Finding] = []
    for node in nodes:
        (info,) = yield [Command(("INFO",), node)]
        (time,) = yield [Command(("TIME",), node)]
        (save,) = yield [Command(("CONFIG", "GET", "save"), node)]
        (fsync,) = yield [Command(("CONFIG", "GET", "appendfsync"), node)]
        for reply in (info, time):
            if isinstance(reply, Exception):
                raise reply
        found += _eviction(info)
        found += _persistence(info, save=_setting(save), fsync=_setting(fsync))
        found += findings.of_clock(now, int(time[0]) + int(time[1]) / 1_000_000, "the Redis server's")
    return tuple(found)


def _eviction(info: Mapping[str, Any]) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        message = (
            f"the server drops keys when its memory is full (maxmemory-policy {policy}), and with a record it drops a "
            "second factor: set maxmemory-policy noeviction"
        )
        yield Finding(severity="critical", code="evicts", message=message)


def _persistence(info: Mapping[str, Any], *, save: str | None, fsync: str | None) -> Iterator[Finding]:
    if int(info.get("aof_enabled", 0)):
        if fsync == "no":
            message = "a crash of the machine loses half a minute of writes: set appendfsync always, or everysec"
            yield Finding(severity="warning", code="not_durable", message=message)
    elif save == "":
        message = "nothing is written to disk, so that a restart turns every second factor off: set appendonly yes"
        yield Finding(severity="critical", code="not_persistent", message=message)
    else:
        message = (
            "there are snapshots at most, so that a restart loses the latest writes: spent codes work again, and new "
            "users have no second factor. Set appendonly yes"
        )
        yield Finding(severity="warning", code="not_durable", message=message)
    failed = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if failed:
        message = f"the last write to disk has failed ({', '.join(failed)}): is the disk full?"
        yield Finding(severity="critical", code="disk_failed", message=message)


def _setting(reply: Any) -> str | None:
    """Return what `CONFIG GET` says of one setting, or `None` where nobody may ask."""
    if not hasattr(reply, "values"):  # the exception that says so
        return None
    value: Any = next(iter(reply.values()), None)
    return value.decode() if isinstance(value, bytes) else value

"""What is asked of the stores that are to be shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

S = TypeVar("S")


def checked_shards(shards: Iterable[S]) -> tuple[S, ...]:
    """Return the shards. Raises `TypeError` for what is no store, `ValueError` for none or for one that comes twice."""
    given = tuple(shards)
    for shard in given:
        if isinstance(shard, type) or not all(callable(getattr(shard, name, None)) for name in ("load", "swap")):
            raise TypeError(f"a shard must be a store, with load and swap, and not {shard!r}")
    if not given or len({id(shard) for shard in given}) < len(given):
        raise ValueError(f"give at least one shard, and none twice, not {list(given)!r}")
    return given


def method_of(shard: object, ability: str) -> Callable[..., Any]:
    """Return a method that is optional for a store. Raises `TypeError` if this one lacks it."""
    method = getattr(shard, ability, None)
    if method is None:
        raise TypeError(f"{shard!r} lacks this optional ability of a store: it has no method {ability}()")
    return cast("Callable[..., Any]", method)

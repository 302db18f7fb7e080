"""Finding a store on the server, or creating an empty one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twofa import _entropy
from twofa.errors import RecordDamaged, UnsupportedRecord
from twofa.stores.redis import scripts
from twofa.stores.redis.exchange import ask, ask_each
from twofa.stores.redis.settings import Settings

if TYPE_CHECKING:
    from twofa.stores.redis.exchange import Exchange
    from twofa.stores.redis.layout import Layout

FORMAT = 1
"""How everything is kept. A version of twofa that changes it counts this up, and converts what is there."""
_READ_TOGETHER = 256
"""How many shards of a single server one script reads."""

_logger = logging.getLogger("twofa.stores")
_logger.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store that was found or created on the server."""

    settings: Settings
    identity: str
    """Random text that every shard of this store has, and no shard of another one."""
    groups: tuple[tuple[int, ...], ...]
    """Which shards one script may read together: a few hundred on a single server, one each on a cluster."""

    @property
    def layout(self) -> Layout:
        """The keys of the store."""
        return self.settings.layout


def open_store(settings: Settings) -> Exchange[Opened]:
    """Find the store on the server, or create an empty one.

    A store is created in steps, since its keys may be on many nodes: the marker says "creating" with a new identity,
    every shard gets that identity, and then the marker says "ready". Whoever finds "creating" finishes the work. Nobody
    uses a store before it is ready, so a shard that is missing from a ready store is a shard that was lost.
    """
    layout = settings.layout
    size = 1 if settings.cluster else _READ_TOGETHER
    numbers = range(layout.shards)
    groups = tuple(tuple(numbers[start : start + size]) for start in range(0, layout.shards, size))
    keys = [[layout.keys[shard] for shard in group] for group in groups]
    (marker,) = yield from ask(scripts.READ_MARKER, layout.marker)
    if marker == b"":
        if not settings.create:
            raise RuntimeError(
                f"there is no store with the prefix {layout.prefix!r} on this server, and create=False: is it the "
                "right server, and has it all its data?"
            )
        answers = yield from ask_each(scripts.LOOK, [(each, ()) for each in keys])
        if any(any(answer) for answer in answers):
            (marker,) = yield from ask(scripts.READ_MARKER, layout.marker)  # somebody may just have created the store
        else:
            new = f"creating {FORMAT} {layout.shards} {_entropy.random_token()}"
            (marker,) = yield from ask(scripts.REPLACE_MARKER, layout.marker, "", new)
        if marker == b"":
            raise RuntimeError(
                f"{layout.marker.decode()} is gone, although there are records with the prefix {layout.prefix!r}: the "
                "server has lost data. Restore the backup"
            )
    state, format_, shards, identity = _read_marker(marker)
    if format_ != FORMAT:
        raise UnsupportedRecord(
            f"the store with the prefix {layout.prefix!r} is kept in format {format_}, and this version of twofa knows "
            f"format {FORMAT}: upgrade twofa"
        )
    if shards != layout.shards:
        raise RuntimeError(
            f"the store with the prefix {layout.prefix!r} was created with shards={shards}, not {layout.shards}: pass "
            f"shards={shards}"
        )
    if state == "creating":
        yield from ask_each(scripts.CREATE, [(each, (identity,)) for each in keys])
        ready = f"ready {format_} {shards} {identity}"
        yield from ask(scripts.REPLACE_MARKER, layout.marker, marker, ready)
        _logger.warning(
            "made an empty store in Redis with the prefix %r: nobody has a second factor there. If users were enrolled "
            "before, this is another server or database, or it has lost its data",
            layout.prefix,
        )
    return Opened(settings=settings, identity=identity, groups=groups)


def _read_marker(marker: bytes) -> tuple[str, int, int, str]:
    try:
        state, format_, shards, identity = marker.decode().split(" ")
        return state, int(format_), int(shards), identity
    except ValueError:
        raise RecordDamaged(f"the marker of the store is not one of ours: {marker[:80]!r}") from None

"""What docs/stores-redis.md says holds: its examples run, and the rights it grants are enough."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from pages import ROOT, run_page
from support import USER
from valkey_server import HOST, on_redis

from twofa import Change
from twofa.stores.redis import RedisStore
from twofa.testing.samples import NOW, event, numbers, stored, version

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from valkey_server import ValkeyServer

pytestmark = on_redis


PAGE = ROOT / "docs" / "stores-redis.md"


def test_the_page_runs(server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies the page from top to bottom meets no error."""
    monkeypatch.setenv("REDIS_URL", server.url)
    names = run_page(PAGE, tmp_path, monkeypatch)
    assert "pending" == names["two_factor"].status(USER).state
    names["client"].close()


@pytest.mark.parametrize("where", ["single", "cluster"])
def test_the_user_of_the_page_is_allowed_what_the_store_does(
    where: str, server: ValkeyServer, cluster: list[ValkeyServer], closing: ExitStack
) -> None:
    """With the rights that the page names a store can do everything, and with the keys of others nothing."""
    page = PAGE.read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER twofa")]
    (more,) = re.findall(r"On a cluster add `(.*?)`", page)
    nodes = [server] if where == "single" else cluster
    for node in nodes:
        admin = closing.enter_context(redis.Redis.from_url(node.url))
        admin.execute_command(*line.split(), *(more.split() if where == "cluster" else ()))
        admin.flushall()  # here the prefix is the usual one
        closing.callback(admin.execute_command, "ACL", "DELUSER", "twofa")
    kind: Any = redis.Redis if where == "single" else redis.RedisCluster
    client = closing.enter_context(kind(host=HOST, port=nodes[0].port, username="twofa", password="secret"))
    store = RedisStore(client)
    assert store.swap(USER, Change(None, stored(1), (event(1), event(2))))
    assert (stored(1), [1, 2], 2) == (store.load(USER), numbers(store), len(store.events_after()))
    assert 1 == store.prune_events(NOW + timedelta(seconds=2))
    assert (USER,) == store.user_ids()
    assert store.swap(USER, Change(version(1), None))
    with pytest.raises(redis.exceptions.NoPermissionError):
        RedisStore(client, prefix="other").load(USER)

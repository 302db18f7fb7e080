"""How the stores talk to a server: scripts are run, and their answers are checked.

`RedisStore` and `AsyncRedisStore` differ only in how they send a command. What they send, and what the replies mean, is
written once for both, in `opening`, `records` and `pages`. The functions there do no I/O of their own. Each is a
generator: it yields the commands it wants sent, is resumed with their replies, and in the end returns the result of the
method.

    def load(store, user_id):
        replies = yield [Command(("EVALSHA", ...))]      # the store sends it, and resumes the function with the reply
        return ...                                       # what the store's load() returns
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from twofa import _entropy
from twofa.stores.protocol import UnexpectedAnswer

if TYPE_CHECKING:
    from twofa.stores.redis.scripts import Script
    from twofa.stores.redis.settings import Settings

T = TypeVar("T")

Word: TypeAlias = str | bytes | int

_SENT_TOGETHER = 1000
"""How many commands are sent before the first reply is read."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command to the server."""

    words: tuple[Word, ...]
    node: object = None
    """The node of a cluster that it is for, where no key says so."""


Replies: TypeAlias = Sequence[Any]
"""The reply to each command, or the exception that the driver has raised."""
Exchange: TypeAlias = Generator[Sequence[Command], Replies, T]
"""A conversation with the server: a generator that yields commands, receives their replies, and returns a `T`."""


def ask(script: Script, key: bytes, *arguments: Word) -> Exchange[list[Any]]:
    """Run a script on one key and return its answer."""
    (answer,) = yield from ask_each(script, [((key,), arguments)])
    return answer


def ask_each(script: Script, calls: Sequence[tuple[Sequence[bytes], Sequence[Word]]]) -> Exchange[list[list[Any]]]:
    """Run a script once for each tuple of keys and arguments; return the answers in the same order."""
    answers: list[list[Any]] = []
    for start in range(0, len(calls), _SENT_TOGETHER):
        tickets = [_entropy.random_token() for _ in calls[start : start + _SENT_TOGETHER]]
        words = [
            (len(keys), *keys, ticket, *arguments)
            for ticket, (keys, arguments) in zip(tickets, calls[start : start + _SENT_TOGETHER], strict=True)
        ]
        replies = list((yield [Command(("EVALSHA", script.name, *each)) for each in words]))
        # A server that was restarted, or that has just taken over a shard, does not know the script by its name.
        unknown = [number for number, reply in enumerate(replies) if is_a(reply, "NoScriptError")]
        if unknown:
            again = yield [Command(("EVAL", script.text, *words[number])) for number in unknown]
            for number, reply in zip(unknown, again, strict=True):
                replies[number] = reply
        answers += [_answer(reply, ticket) for reply, ticket in zip(replies, tickets, strict=True)]
    return answers


def ask_and_wait(settings: Settings, script: Script, key: bytes, *arguments: Word) -> Exchange[list[Any]]:
    """Run a script that writes, and wait until the replicas have what it wrote.

    Both commands are sent together, and so on one connection: WAIT is about the writes of its own connection.
    """
    ticket = _entropy.random_token()
    words = (1, key, ticket, *arguments)
    wanted, seconds = settings.replicas, settings.replica_timeout
    wait = Command(("WAIT", wanted, ceil(seconds * 1000)))
    reply, copies = yield [Command(("EVALSHA", script.name, *words)), wait]
    if is_a(reply, "NoScriptError"):
        reply, copies = yield [Command(("EVAL", script.text, *words)), wait]
    answer = _answer(reply, ticket)
    if isinstance(copies, Exception):
        raise copies
    if answer == [b"yes"] and copies < wanted:
        raise RuntimeError(
            f"{seconds:g} s after a change was made, {copies} of {wanted} replicas have it, so it would be lost if the "
            "primary failed now: see to the replicas"
        )
    return answer


def is_a(reply: object, name: str) -> bool:
    """Whether a reply is an error of that class. Redis and Valkey have drivers with classes of their own."""
    return any(each.__name__ == name for each in type(reply).__mro__)


def _answer(reply: Any, ticket: str) -> list[Any]:
    """Return what stands in an answer after the word `twofa` and our ticket, or raise.

    A connection whose replies got out of step, because it is shared or because a call on it was cancelled, delivers the
    answer to somebody else's question. That must neither read as "no record" nor as "the swap happened".
    """
    if isinstance(reply, Exception):
        raise reply
    kind = type(reply).__name__
    answer: list[Any] = cast("Any", reply) if isinstance(reply, list) else []
    if answer[:2] != [b"twofa", ticket.encode()]:
        # The reply may be about anything of the host's, so the message tells nothing of it but its type.
        raise UnexpectedAnswer(
            f"the server has answered another question, with a {kind}: is the connection in a "
            "transaction of yours, or shared without a lock?"
        )
    if answer[2:3] == [b"lost"]:
        raise RuntimeError(
            f"{answer[3].decode()} is no shard of this store any more, and so nobody knows who has a second factor: "
            "the server was flushed, dropped the key, came back without its data, or is another one. Restore the backup"
        )
    return answer[2:]

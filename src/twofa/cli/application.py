"""The host's own `TwoFactor` or `AsyncTwoFactor`: found by name, and called as if both were blocking."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from twofa.asynchronous import AsyncTwoFactor
from twofa.blocking import TwoFactor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from twofa._engine.operation import Operation
    from twofa._engine.settings import Settings

T = TypeVar("T")

VARIABLE = "TWOFA_APP"
"""The environment variable that names the application where `--app` is not given."""


class ApplicationNotFound(Exception):  # as the public errors: named by what happened
    """`--app` leads to no `TwoFactor`. The message says what was found instead, and what to write."""


def load_application(name: str | None) -> TwoFactor | AsyncTwoFactor:
    """Return what `module:attribute` names: a `TwoFactor`, an `AsyncTwoFactor`, or a function that returns one.

    Raises `ApplicationNotFound` where there is none, and whatever the host's module raises while it is imported.
    """
    if name is None:
        _refuse(f"say whose users: --app module:attribute names your TwoFactor, and so does the variable {VARIABLE}")
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        _refuse(f"--app takes module:attribute, such as myproject.security:two_factor, not {name!r}")
    found: Any = _import(module_name)
    for part in path.split("."):
        if not hasattr(found, part):
            _refuse(f"there is no {part!r} in {name!r}{_suggestion(module_name)}")
        found = getattr(found, part)
    if inspect.isfunction(found):
        found = found()
    if not isinstance(found, (TwoFactor, AsyncTwoFactor)):
        kind = type(found).__name__
        _refuse(f"{name!r} is no TwoFactor or AsyncTwoFactor, but of type {kind}{_suggestion(module_name)}")
    return found


def _import(name: str) -> object:
    # A migration script would otherwise find what lies beside itself, and not what lies in the current folder.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{name}.".startswith(f"{missing.name}."):
            raise
        raise ApplicationNotFound(
            f"there is no module {missing.name!r} in {here} or on PYTHONPATH: start this where your application starts"
        ) from None


def _suggestion(module_name: str) -> str:
    module = sys.modules[module_name]
    names = [name for name, value in vars(module).items() if isinstance(value, (TwoFactor, AsyncTwoFactor))]
    return f"; did you mean --app {module_name}:{names[0]}?" if names else ""


def _refuse(message: str) -> NoReturn:
    raise ApplicationNotFound(message)


class Application:
    """Calls either face, and its store, from blocking code. All coroutines run in one event loop."""

    def __init__(self, face: TwoFactor | AsyncTwoFactor) -> None:
        self.face = face
        self._runner: asyncio.Runner | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def store(self) -> Any:
        """The store that the host has put the face together with."""
        return self.face._store  # pyright: ignore[reportPrivateUsage]  # the commands are part of the library

    @property
    def settings(self) -> Settings:
        """Its keys, policy, clock and namespace."""
        return self.face._settings  # pyright: ignore[reportPrivateUsage]

    def carry_out(self, operation: Operation[Any]) -> Any:
        """Return the result of an operation that is no method of the face, or what is to be awaited for it."""
        return self.face._carry_out(operation)  # pyright: ignore[reportPrivateUsage]

    def call(self, function: Callable[..., Any], *arguments: object, **named: object) -> Any:
        """Call a method of the face or of its store; return its result, awaited where it has to be."""
        result = function(*arguments, **named)
        return self._run(_awaited(result)) if inspect.isawaitable(result) else result

    def call_each(self, function: Callable[[T], Any], items: Sequence[T], workers: int) -> list[Any]:
        """Call `function` with each item, `workers` at a time; return results and exceptions in the items' order."""
        # Each worker gets its share of the items at once: to hand them over one by one took half of the time.
        shares = [items[first::workers] for first in range(min(workers, len(items)))]
        if isinstance(self.face, AsyncTwoFactor):
            shared = self._run(_gather(function, shares))
        else:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(workers)
            shared = list(self._threads.map(_results, [function] * len(shares), shares))
        results: list[Any] = [None] * len(items)
        for first, share in enumerate(shared):
            results[first::workers] = share
        return results

    def pages_of_users(self, after: str, size: int) -> Iterator[Sequence[str]]:
        """Return all user ids after `after`, in pages; raises `TypeError` where the store does not list its users."""
        while page := self.call(self.store.user_ids, after=after, limit=size):
            yield page
            after = page[-1]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        if self._runner is not None:
            self._runner.close()


async def _awaited(result: Any) -> Any:
    return await result


async def _gather(function: Callable[[T], Any], shares: Sequence[Sequence[T]]) -> list[list[Any]]:
    async def results(share: Sequence[T]) -> list[Any]:
        return [await _awaited_or_exception(function, item) for item in share]

    return await asyncio.gather(*map(results, shares))


async def _awaited_or_exception(function: Callable[[T], Any], item: T) -> Any:
    try:
        return await function(item)
    except Exception as raised:
        return raised


def _results(function: Callable[[T], Any], share: Sequence[T]) -> list[Any]:
    return [_result_or_exception(function, item) for item in share]


def _result_or_exception(function: Callable[[T], Any], item: T) -> Any:
    try:
        return function(item)
    except Exception as raised:
        return raised

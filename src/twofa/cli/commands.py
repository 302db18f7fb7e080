"""What each command does: it takes the application, its arguments and the console, and returns the exit code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from twofa._engine.operations.revoking import RevokeRecoveryCodes
from twofa.cli.console import printable
from twofa.cli.exits import Exit
from twofa.errors import RecordError, StoreContention
from twofa.keys import KeyRing
from twofa.proofs import Vouched

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from datetime import datetime

    from twofa._engine.operations.revoking import Revoked
    from twofa.cli.application import Application
    from twofa.cli.console import Console
    from twofa.events import Event
    from twofa.results import RecoveryCodes, Status


SOURCE = "python -m twofa"
"""What the audit trail says of where these changes came from."""


def generate_key(console: Console) -> Exit:
    """Show a new sealing key."""
    key = KeyRing.generate_key()
    console.show(key, {"key": key, "key_id": KeyRing(key).key_ids[0]})
    return Exit.OK


def status(application: Application, arguments: Namespace, console: Console) -> Exit:
    """Show where an account stands."""
    found: Status = application.call(application.face.status, arguments.user)
    console.show(_status_text(arguments.user, found), {"user_id": arguments.user, **found.to_dict()})
    return Exit.OK


def events(application: Application, arguments: Namespace, console: Console) -> Exit:
    """Show an account's audit trail, newest first."""
    found: list[Event] = list(application.call(application.face.events, arguments.user, limit=arguments.limit))
    if console.as_json:
        console.show("", {"user_id": arguments.user, "events": [event.to_dict() for event in found]})
    elif found:
        console.show("\n".join(map(_event_text, found)), {})
    else:
        console.remark("no events")
    return Exit.OK


def reseal(application: Application, arguments: Namespace, console: Console) -> Exit:
    """Encrypt every record under the primary key, beside the logins.

    A record that is sealed with that key already is only read. So whatever ends a run, even SIGKILL, the next one goes
    on where it ended.
    """

    def read(_user_id: str, resealed: bool) -> str:
        return "resealed" if resealed else "sealed with the primary key already"

    counts = _go_through_users(application, arguments, console, "resealing", application.face.reseal, read)
    data = {"users": counts.total(), "resealed": counts["resealed"], "failed": counts["failed"]}
    console.show(_sum(counts, "resealed", "sealed with the primary key already"), data)
    return Exit.WARNING if counts["failed"] else Exit.OK


def revoke_codes(application: Application, arguments: Namespace, console: Console) -> Exit:
    """End every recovery set that was made before a time, and the sessions of its owner, beside the logins.

    A user whose set was ended is only read the next time, so a run that was killed can be repeated. Recovery codes
    that are their owner's only way in are left alone, and the owner is named.
    """
    settings = application.settings
    if arguments.before > settings.now():
        raise ValueError("--before lies in the future: give the time at which the backup was restored")

    def revoke(user_id: str) -> Any:
        operation = RevokeRecoveryCodes.prepare(
            settings, user_id, before=arguments.before, by=arguments.by, reason=arguments.reason, source=SOURCE
        )
        return application.carry_out(operation)

    def read(user_id: str, outcome: Revoked) -> str:
        if outcome == "only way in":
            message = "has no app, so the recovery codes are the only way in: they still work"
            data = {"user_id": user_id, "error": "only_way_in", "message": message}
            console.show(f"{printable(user_id)}: {message}", data)
        return outcome

    counts = _go_through_users(application, arguments, console, "revoking", revoke, read)
    left = counts["only way in"]
    data = {"users": counts.total(), "revoked": counts["revoked"], "only_way_in": left, "failed": counts["failed"]}
    console.show(_sum(counts, "revoked", "nothing to revoke", "only way in"), data)
    return Exit.WARNING if left or counts["failed"] else Exit.OK


def _go_through_users(
    application: Application,
    arguments: Namespace,
    console: Console,
    doing: str,
    call: Callable[[str], Any],
    read: Callable[[str, Any], str],
) -> Counter[str]:
    """Call `call` with every user, some at a time; return how many there were of each kind that `read` calls a result.

    A user who cannot be done is named, and counts as failed.
    """
    counts: Counter[str] = Counter()
    with console.progress(doing) as progress:
        for page in application.pages_of_users(arguments.after, arguments.batch):
            outcomes = application.call_each(call, page, arguments.workers)
            for user_id, outcome in zip(page, outcomes, strict=True):
                if isinstance(outcome, RecordError | StoreContention):
                    counts["failed"] += 1
                    text = f"{printable(user_id)}: {outcome}"
                    console.show(text, {"user_id": user_id, "error": outcome.code, "message": str(outcome)})
                elif isinstance(outcome, Exception):
                    raise outcome
                else:
                    counts[read(user_id, outcome)] += 1
            progress.advance(len(page))
    return counts


def _sum(counts: Counter[str], *kinds: str) -> str:
    shown = [*kinds, *(["failed"] if counts["failed"] else [])]
    return f"{counts.total():,} users: {', '.join(f'{counts[kind]:,} {kind}' for kind in shown)}"


def reset_codes(application: Application, arguments: Namespace, console: Console) -> Exit:
    """Make and show new recovery codes for a user whose identity was checked."""
    user_id = arguments.user
    codes: RecoveryCodes = application.call(
        application.face.reset_recovery_codes, user_id, proof=_vouched(arguments), source=SOURCE
    )
    console.remark(f"{len(codes)} new recovery codes for {printable(user_id)}, shown only now. The old ones are dead.")
    data = {"user_id": user_id, "recovery_codes": list(codes), "generation": codes.generation}
    console.show(str(codes), data)
    return Exit.OK


def disable(application: Application, arguments: Namespace, console: Console) -> Exit:
    """Turn a user's second factor off."""
    user_id = arguments.user
    generation = application.call(application.face.disable, user_id, proof=_vouched(arguments), source=SOURCE)
    text = f"{printable(user_id)}: the second factor is off. A login asks for the password only."
    console.show(text, {"user_id": user_id, "generation": generation})
    return Exit.OK


def end_sessions(application: Application, arguments: Namespace, console: Console) -> Exit:
    """End a user's sessions everywhere."""
    user_id = arguments.user
    generation = application.call(application.face.end_sessions, user_id, source=SOURCE)
    text = f"{printable(user_id)}: every session has ended."
    console.show(text, {"user_id": user_id, "generation": generation})
    return Exit.OK


def _vouched(arguments: Namespace) -> Vouched:
    return Vouched(by=arguments.by, reason=arguments.reason)


def _status_text(user_id: str, status: Status) -> str:
    facts = {
        "asks for a code": "yes" if status.required else "no",
        "app confirmed": _time(status.confirmed_at),
        "app last used": _time(status.last_used_at),
        "app shows": status.digits and f"{status.digits} digits for {status.period} seconds, {status.algorithm}",
        "app waits until": _time(status.retry_at),
        "recovery codes left": status.recovery_codes_remaining if status.required else None,
        "recovery codes made": _time(status.recovery_codes_issued_at),
        "recovery waits until": _time(status.recovery_retry_at),
        "set-up expires": _time(status.setup_expires_at),
        "generation": status.generation,
    }
    shown = [f"  {name:<22}{value}" for name, value in facts.items() if value is not None]
    return "\n".join([f"{printable(user_id)}: {status.state}", *shown])


def _event_text(event: Event) -> str:
    detail = "  ".join(f"{name}={value}" for name, value in event.detail.items())
    return printable(f"{_time(event.at)}  {event.kind:<24}{event.source or '-'}  {detail}".rstrip())


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")

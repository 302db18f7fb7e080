"""What each command does: it takes the application, its arguments and the console, and returns the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa.cli.console import printable
from twofa.cli.exits import Exit
from twofa.errors import RecordError, StoreContention
from twofa.keys import KeyRing
from twofa.proofs import Vouched

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

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
    seen = resealed = failed = 0
    with console.progress("resealing") as progress:
        for page in application.pages_of_users(arguments.after, arguments.batch):
            outcomes = application.call_each(application.face.reseal, page, arguments.workers)
            for user_id, outcome in zip(page, outcomes, strict=True):
                if isinstance(outcome, RecordError | StoreContention):
                    failed += 1
                    text = f"{printable(user_id)}: {outcome}"
                    console.show(text, {"user_id": user_id, "error": outcome.code, "message": str(outcome)})
                elif isinstance(outcome, Exception):
                    raise outcome
                else:
                    resealed += outcome
            seen += len(page)
            progress.advance(len(page))
    text = f"{seen:,} users: {resealed:,} resealed, {seen - resealed - failed:,} sealed with the primary key already"
    if failed:
        text += f", {failed:,} failed"
    console.show(text, {"users": seen, "resealed": resealed, "failed": failed})
    return Exit.WARNING if failed else Exit.OK


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

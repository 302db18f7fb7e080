"""`check`: look for mistakes in keys, store and clock. Writes nothing, but asks the store whether it could.

What can be asked of any store is asked here. What only one kind of store can find out about its database, it says
itself, if it is `Diagnosable`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from twofa import _entropy
from twofa._engine.attempt import close_record, open_record
from twofa._record.state import State
from twofa.cli.console import first_line, printable
from twofa.cli.exits import Exit
from twofa.errors import RecordDamaged, RecordError, UnknownKey
from twofa.stores.protocol import Change, Diagnosable, Finding

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from twofa._engine.settings import Settings
    from twofa._record.sealing import Seal
    from twofa.cli.application import Application
    from twofa.cli.console import Console
    from twofa.stores.protocol import Stored

_EXITS = {"note": Exit.OK, "warning": Exit.WARNING, "critical": Exit.CRITICAL}
_PAGE = 100
_WORKERS = 4
_NAMED = 3
"""Users whom a finding names at most."""


def check(application: Application, arguments: Namespace, console: Console) -> Exit:
    """Show what is wrong, the worst first."""
    findings = sorted(_findings(application, arguments.records), key=lambda each: -_EXITS[each.severity])
    for finding in findings:
        text = f"{finding.severity}: {finding.code}: {printable(finding.message)}"
        console.show(text, {"severity": finding.severity, "code": finding.code, "message": finding.message})
    worst = max([_EXITS[finding.severity] for finding in findings], default=Exit.OK)
    keys = application.settings.keys.key_ids
    console.show(
        f"{worst.name}: {len(findings) or 'no'} findings. Records are sealed with key {keys[0]}",
        {"result": worst.name.lower(), "findings": len(findings), "key_ids": list(keys)},
    )
    return worst


def _findings(application: Application, records: int) -> Iterator[Finding]:
    try:
        found = list(_in_the_database(application))
        yield from found
        if all(finding.severity != "critical" for finding in found):
            yield from _in_records(application, records)
            yield from _in_writing(application)
    except Exception as problem:  # whatever a driver raises
        yield Finding(severity="critical", code="store_failed", message=first_line(problem))


def _in_the_database(application: Application) -> Sequence[Finding]:
    store = application.store
    return application.call(store.diagnose, application.settings.now()) if isinstance(store, Diagnosable) else ()


# --- records -------------------------------------------------------------------------------------------------------


def _in_records(application: Application, most: int) -> Iterator[Finding]:
    store = application.store
    if not hasattr(store, "user_ids"):
        message = "the store does not list its users, so no record was opened"
        yield Finding(severity="note", code="no_listing", message=message)
        return
    records = _Records(application.settings)
    for page in application.pages_of_users("", min(_PAGE, most)):
        stored = application.call_each(store.load, page, _WORKERS)
        for user_id, each in zip(page, stored, strict=True):
            records.open(user_id, each)
        if records.opened >= most:
            break
    yield from records.findings()


class _Records:
    """What there is to say of the records that were opened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.opened = 0
        self._sealed_earlier = 0
        self._missing_keys: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._damaged: list[str] = []
        self._of_no_namespace = 0

    def open(self, user_id: str, stored: Stored | Exception | None) -> None:
        """Open one. It may have been deleted since it was listed. Raises what the store has raised."""
        if isinstance(stored, Exception):
            raise stored
        if stored is None:
            return
        self.opened += 1
        keys = self._settings.keys
        try:
            record = open_record(keys.for_user(user_id, self._settings.namespace), stored)
        except UnknownKey as problem:
            self._missing_keys[problem.key_id] += 1
        except RecordDamaged:
            self._damaged.append(user_id)
            self._of_no_namespace += self._settings.namespace != "" and _opens(keys.for_user(user_id), stored)
        except RecordError as problem:
            self._refused[str(problem)] += 1
        else:
            self._sealed_earlier += not record.is_current

    def findings(self) -> Iterator[Finding]:
        """Return them."""
        of = f"of {self.opened:,} records"
        if not self.opened:
            message = "no user has a record: is this the right database?"
            yield Finding(severity="note", code="no_records", message=message)
        for key_id, count in self._missing_keys.items():
            message = f"{count:,} {of} are sealed with key {key_id!r}, which is not in the ring: add it as an older key"
            yield Finding(severity="critical", code="wrong_key", message=message)
        for message, count in self._refused.items():
            yield Finding(severity="critical", code="unsupported_record", message=f"{count:,} {of}: {message}")
        if self._damaged:
            yield self._about_damage(of)
        if self._sealed_earlier:
            message = f"{self._sealed_earlier:,} {of} are sealed with an older key: reseal before you drop it"
            yield Finding(severity="note", code="older_key", message=message)

    def _about_damage(self, of: str) -> Finding:
        named = ", ".join(self._damaged[:_NAMED]) + (", …" if len(self._damaged) > _NAMED else "")
        who = f"{len(self._damaged):,} {of} do not open although their key is here ({named})"
        if self._of_no_namespace or len(self._damaged) > 1:
            # A seal does not say for which namespace it was made. But damage comes alone.
            known = f", {self._of_no_namespace:,} of them without a name" if self._of_no_namespace else ""
            message = f"{who}: two namespaces{known} write to the same tables. Give each its own"
            return Finding(severity="critical", code="two_namespaces", message=message)
        message = f"{who}: it was altered, or moved from another user. Restore it from a backup"
        return Finding(severity="critical", code="record_damaged", message=message)


def _opens(seal: Seal, stored: Stored) -> bool:
    try:
        open_record(seal, stored)
    except RecordError:
        return False
    return True


# --- writing -------------------------------------------------------------------------------------------------------


def _in_writing(application: Application) -> Iterator[Finding]:
    # A swap that expects a version nobody ever had: it has to be begun like any other, and changes nothing.
    user_id = f"twofa-check-{_entropy.random_token()}"
    settings = application.settings
    never = close_record(settings.keys.for_user(user_id, settings.namespace), State(), ())
    try:
        application.call(application.store.swap, user_id, Change(_entropy.random_token(), never))
    except Exception as problem:
        message = f"the store cannot be written, so that nobody can sign in: {first_line(problem)}"
        yield Finding(severity="critical", code="read_only", message=message)

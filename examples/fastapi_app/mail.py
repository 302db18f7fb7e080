"""Tell the owner what happened to the account. What and when is in `web_pages/notices.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web_pages.notices import notice_of

if TYPE_CHECKING:
    from web_pages.notices import Send

    from fastapi_app.accounts import Accounts
    from twofa import Event


class Notices:
    """The listener of the library's events. It runs after the record says so, and its failure changes nothing."""

    def __init__(self, accounts: Accounts, send: Send) -> None:
        self._accounts, self._send = accounts, send

    async def __call__(self, event: Event) -> None:
        """Send a mail about what its owner should know."""
        notice = notice_of(event)
        user = None if notice is None else await self._accounts.get(event.user_id)
        if notice is not None and user is not None:
            self._send(user.email, notice.subject, notice.text)

"""A browser's session: who is signed in, who owes a code, whose set-up this is (`TwoFactor.session`).

`docs/session.md` explains the names and the laws.
"""

from twofa.session.asynchronous import AsyncBearer, AsyncSession
from twofa.session.blocking import Bearer, Session
from twofa.session.cookies import BROWSER_COOKIE, BrowserCookie
from twofa.session.cross_site import refuse_cross_site
from twofa.session.slot import HostSession

__all__ = [
    "BROWSER_COOKIE",
    "AsyncBearer",
    "AsyncSession",
    "Bearer",
    "BrowserCookie",
    "HostSession",
    "Session",
    "refuse_cross_site",
]

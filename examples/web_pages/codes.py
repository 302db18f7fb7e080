"""What the page with the recovery codes shows."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from web_pages.product import PRODUCT

if TYPE_CHECKING:
    from twofa import RecoveryCodes
    from web_pages.language import Language


class AboutCodes(TypedDict):
    """What `templates/codes.html` needs."""

    codes: list[str]
    heading: list[str]
    download: str
    """A link that works without JavaScript, to a file that is never on the server."""


def about_codes(t: Language, codes: RecoveryCodes, email: str, now: float) -> AboutCodes:
    """Return what the page shows: whose codes these are, and of which day, on paper and in the file as well."""
    today = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
    heading = [
        t("Recovery codes for {name} at {product}", name=email, product=PRODUCT),
        f"{today}. {t('Each works once.')}",
    ]
    text = "\n".join([*heading, "", codes.text()])
    download = "data:text/plain;charset=utf-8;base64," + b64encode(text.encode()).decode()
    return {"codes": list(codes), "heading": heading, "download": download}

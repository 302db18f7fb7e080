"""What the example applications show: templates, styles, words and languages, the same for every framework.

A framework's part is to fill in the context that `templates/base.html` names. Nothing here calls the library.
"""

from pathlib import Path

from web_pages.activity import Activity, password_may_be_known, summarise
from web_pages.codes import about_codes
from web_pages.language import Language, choose, load, preferred
from web_pages.product import PRODUCT
from web_pages.security import HEADERS, TRUST_DAYS, password_is_old

FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
STATIC = FOLDER / "static"

__all__ = [
    "FOLDER",
    "HEADERS",
    "PRODUCT",
    "STATIC",
    "TEMPLATES",
    "TRUST_DAYS",
    "Activity",
    "Language",
    "about_codes",
    "choose",
    "load",
    "password_is_old",
    "password_may_be_known",
    "preferred",
    "summarise",
]

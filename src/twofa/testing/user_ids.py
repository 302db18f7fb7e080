"""User ids that a careless store takes for one another."""

from __future__ import annotations

USER = "user-42"
OTHER = "user-43"

LOOKALIKES = (
    "user",
    "User",
    "USER",
    "user ",
    " user",
    "user\t",
    "user\n",
    "user%",
    "user_",
    "us%",
    "us_r",
    "%",
    "_",
    "*",
    "user\\",
    "user'",
    'user"',
    "caf\u00e9",
    "cafe\u0301",
    "cafe",
    "stra\u00dfe",
    "strasse",
    "\u0130",
    "i",
    "\u0131",
    "user\u200b",
    "us\u0435r",
    "1",
    "01",
    "1.0",
    "1e0",
    "NULL",
    "\U0001f600",
    "\U0001f600\ufe0f",
    "\uff5e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "x" * 254,
    "x" * 255,
    "x" * 254 + "y",
    "\U0001f600" * 255,
    "\U0001f600" * 254 + "y",
)
"""Ids that some collation, trimming, pattern, number or normalization takes for one another."""

HASH_TWINS = {
    "CRC-32": ("plumless", "buckeroo"),
    "Adler-32": ("user-44c803", "user-27e161"),
    "FNV-1": ("user-d404df", "user-2ca350"),
    "FNV-1a": ("user-8d57a5", "user-4ad946"),
    "djb2": ("user-aB", "user-b!"),
    "djb2, with exclusive or": ("user-727d82", "user-7258f2"),
    "sdbm": ("user-ffe3fc", "user-b86d07"),
    "Java's hashCode": ("user-Aa", "user-BB"),
    "MurmurHash3": ("user-36153", "user-226846"),
    "PostgreSQL's hashtext": ("user-72961", "user-133836"),
    "32 bits of MD5": ("user-4385", "user-39375"),
    "32 bits of SHA-1": ("user-94641", "user-115688"),
    "32 bits of SHA-256": ("user-20491", "user-32057"),
}
"""Two ids that each of these takes for one. A store of a hundred thousand users has such a pair, whichever it uses."""

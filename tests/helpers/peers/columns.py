"""Run as a program it writes a table as an application with pyotp or libpass has it.

It prints what its users hold: for each id the Key URI in their app.
"""

import base64
import json
import os
import sqlite3
import sys
import time
from contextlib import closing

import pyotp
from passlib.totp import TOTP


class OldTOTP(pyotp.TOTP):
    """As pyotp was when it made secrets of 16 characters."""

    min_secret_length_bits = 80


def pyotp_rows(bulk):
    long = pyotp.random_base32()
    yield "alice", long, OldTOTP(long)
    yield "lower case", long.lower(), OldTOTP(long)
    padded = base64.b32encode(b"seventeen bytes !").decode()
    yield "padded", padded, OldTOTP(padded.rstrip("="))
    yield "short secret", "JBSWY3DPEHPK3PXP", OldTOTP("JBSWY3DPEHPK3PXP")
    yield "in groups", "jbsw y3dp-ehpk 3pxp jbsw y3dp ehpk 3pxp", OldTOTP("JBSWY3DPEHPK3PXP" * 2)
    yield "stray bits", "JBSWY3DPEHPK3PXPJBSWY3DPEB", OldTOTP("JBSWY3DPEHPK3PXPJBSWY3DPEB")
    yield "digit one", "JBSWY3DPEHPK3PX1JBSWY3DPEHPK3PX1", None
    yield "cut short", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3P", None
    yield "too short", "JBSWY3DP", None
    yield "empty", "", None
    yield "none", None, None
    for number in range(bulk):
        secret = pyotp.random_base32()
        yield f"user {number}", secret, OldTOTP(secret)


def libpass_rows(bulk, wallet):
    using = TOTP.using(secrets_path=wallet, issuer="Old") if wallet else TOTP
    for name, options in [
        ("alice", {}),
        ("slow phone", {"alg": "sha256", "digits": 8, "period": 60}),
        ("sha512", {"alg": "sha512", "size": 64}),
        *((f"user {number}", {}) for number in range(bulk)),
    ]:
        totp = using.new(**options)
        yield name, totp.to_json(), totp
    yield "short secret", using(key="JBSWY3DPEHPK3PXP").to_json(), using(key="JBSWY3DPEHPK3PXP")
    yield "no JSON", "{", None
    yield (
        "encrypted by nobody knows what",
        '{"enckey":{"c":14,"k":"ABCD","s":"ABCD","t":"9","v":1},"type":"totp","v":1}',
        None,
    )


def main(kind, bulk):
    held = {}
    wallet = os.environ.get("OLD_WALLET")
    rows = pyotp_rows(bulk) if kind == "pyotp" else libpass_rows(bulk, wallet)
    with closing(sqlite3.connect(os.environ["OLD_DATABASE"])) as connection:
        connection.execute("CREATE TABLE account (name TEXT PRIMARY KEY, stored TEXT, last_counter INTEGER)")
        for name, stored, totp in rows:
            counter = None
            if name == "alice" and kind == "libpass":
                match = totp.match(totp.generate(time.time()).token)
                counter = match.counter
            connection.execute("INSERT INTO account VALUES (?, ?, ?)", (name, stored, counter))
            held[name] = {"id": name, "codes": []}
            if totp is not None:
                uri = totp.provisioning_uri(name=name) if kind == "pyotp" else totp.to_uri(name, issuer="Old")
                held[name]["uri"] = uri
        connection.commit()
    json.dump(held, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

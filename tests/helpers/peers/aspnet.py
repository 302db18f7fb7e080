"""Run as a program it builds the tables of ASP.NET Core Identity, as its Entity Framework provider for SQLite does.

There is no .NET where the tests run, so this is written from Identity's sources: the tables from its default migration,
keys and codes as `UserManager` makes them. It prints what the users hold.
"""

import base64
import json
import os
import secrets
import sqlite3
import sys
import uuid
from contextlib import closing

TABLES = """
CREATE TABLE "AspNetUsers" (
    "Id" TEXT NOT NULL CONSTRAINT "PK_AspNetUsers" PRIMARY KEY, "UserName" TEXT NULL, "NormalizedUserName" TEXT NULL,
    "Email" TEXT NULL, "NormalizedEmail" TEXT NULL, "EmailConfirmed" INTEGER NOT NULL, "PasswordHash" TEXT NULL,
    "SecurityStamp" TEXT NULL, "ConcurrencyStamp" TEXT NULL, "PhoneNumber" TEXT NULL,
    "PhoneNumberConfirmed" INTEGER NOT NULL, "TwoFactorEnabled" INTEGER NOT NULL, "LockoutEnd" TEXT NULL,
    "LockoutEnabled" INTEGER NOT NULL, "AccessFailedCount" INTEGER NOT NULL
);
CREATE UNIQUE INDEX "UserNameIndex" ON "AspNetUsers" ("NormalizedUserName");
CREATE TABLE "AspNetUserTokens" (
    "UserId" TEXT NOT NULL, "LoginProvider" TEXT NOT NULL, "Name" TEXT NOT NULL, "Value" TEXT NULL,
    CONSTRAINT "PK_AspNetUserTokens" PRIMARY KEY ("UserId", "LoginProvider", "Name"),
    CONSTRAINT "FK_AspNetUserTokens_AspNetUsers_UserId" FOREIGN KEY ("UserId") REFERENCES "AspNetUsers" ("Id")
        ON DELETE CASCADE
);
"""
ALPHABET = "23456789BCDFGHJKMNPQRTVWXY"
"""What `CreateTwoFactorRecoveryCode` draws from."""


def new_code():
    half = ["".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(2)]
    return "-".join(half)


def old_code():
    """Return a code as it was before .NET 6: the first eight digits of a GUID."""
    return str(uuid.uuid4())[:8]


def main(bulk):
    held = {}
    with closing(sqlite3.connect(os.environ["OLD_DATABASE"])) as connection:
        connection.executescript(TABLES)

        def enrol(name, *, key=True, codes=(), enabled=True):
            user_id = str(uuid.uuid4())
            connection.execute(
                'INSERT INTO "AspNetUsers" VALUES (?, ?, ?, ?, ?, 1, NULL, NULL, NULL, NULL, 0, ?, NULL, 1, 0)',
                (user_id, name, name.upper(), name, name.upper(), int(enabled)),
            )
            secret = base64.b32encode(secrets.token_bytes(20)).decode()
            tokens = {"AuthenticatorKey": secret} if key else {}
            if codes:
                tokens["RecoveryCodes"] = ";".join(codes)
            for token, value in tokens.items():
                connection.execute(
                    'INSERT INTO "AspNetUserTokens" VALUES (?, ?, ?, ?)', (user_id, "[AspNetUserStore]", token, value)
                )
            uri = f"otpauth://totp/Old:{name.replace(' ', '')}?secret={secret}&issuer=Old&digits=6"
            held[name] = {"id": user_id, "uri": uri, "codes": list(codes)}

        enrol("alice", codes=[new_code() for _ in range(3)])
        enrol("since long ago", codes=[old_code() for _ in range(3)])
        enrol("no codes")
        enrol("by mail", key=False)
        enrol("switched off", enabled=False)
        for number in range(bulk):
            enrol(f"user {number}")
        connection.commit()
    json.dump(held, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))

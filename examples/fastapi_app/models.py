"""What the API takes and gives, for its OpenAPI description."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from twofa import Status

ShortText = Annotated[str, Field(max_length=320)]
TypedCode = Annotated[str, Field(max_length=64, description="The app's code, or a recovery code, as it was typed.")]


class Given(BaseModel):
    """A request's body: nothing else may be in it, and a number is no text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Credentials(Given):
    """The first step of signing in."""

    email: ShortText
    password: ShortText
    device: Annotated[str | None, Field(max_length=2048, description="What this client was given last time.")] = None


class SecondStep(Given):
    """The second step."""

    code: TypedCode
    trust: Annotated[bool, Field(description="Ask this client for no code for 30 days.")] = False


class Code(Given):
    """The first code of a new app."""

    code: TypedCode


class Proof(Given):
    """What a change takes: a code, unless one was given in the last ten minutes."""

    code: TypedCode | None = None


class Problem(BaseModel):
    """Why a request was refused."""

    code: Annotated[str, Field(description="A stable name, for programs and translations.")]
    message: str
    retry_at: datetime | None = None
    reason: Annotated[str | None, Field(description="Why nobody is signed in.")] = None
    recovery_only: Annotated[bool | None, Field(description="Whether only a recovery code serves.")] = None


class Client(BaseModel):
    """What the client keeps from now on, in place of what it had. Both are as secret as a password."""

    token: Annotated[str, Field(description="Send it as `Authorization: Bearer …`.")]
    device: Annotated[str | None, Field(description="Keep it after signing out too, for the next sign-in.")] = None


class SignedIn(Client):
    """What comes after the password."""

    code_required: Annotated[bool, Field(description="Whether the token opens nothing until a code is given.")]
    recovery_only: bool = False


class Verified(BaseModel):
    """A code that was accepted."""

    user_id: str
    method: Literal["totp", "recovery_code"]
    at: datetime
    recovery_codes_remaining: int
    step_offset: int | None
    failed_before: int
    generation: str


class SecondStepTaken(Client):
    """Signed in with both factors."""

    verification: Verified


class Account(BaseModel):
    """Who is signed in, and where the account stands."""

    id: str
    email: str
    name: str
    second_factor: Status
    needs_code: Annotated[bool, Field(description="Whether the next change takes a code.")]
    has_setup: Annotated[bool, Field(description="Whether the set-up that waits is this client's.")]


class ShownSetup(BaseModel):
    """An app to be set up. Show it to nobody else."""

    uri: str
    manual_key: str
    expires_at: datetime
    generation: str | None
    qr_svg: str


class NewSetup(Client):
    """A set-up that has begun."""

    setup: ShownSetup


class NewCodes(Client):
    """New recovery codes, shown this once."""

    recovery_codes: list[str]


class Event(BaseModel):
    """Something that happened to the account."""

    kind: str
    user_id: str
    at: datetime
    source: str | None
    detail: dict[str, str | int | bool | None]

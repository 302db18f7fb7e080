"""Independent phones: what others compute, and what others read from the pictures, signs in.

No code in this file comes from the library's own arithmetic, and no phone is told anything but the Key URI.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from itertools import product
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
import zxingcpp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.twofactor import totp as other
from not_tested import not_here
from PIL import Image
from support import USER, World

from twofa import ByCode, Policy
from twofa.errors import CodeReused, InvalidCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa import Setup

HASHES = {"SHA1": hashes.SHA1(), "SHA256": hashes.SHA256(), "SHA512": hashes.SHA512()}  # RFC 6238 §1.2
PARAMETERS = list(product(["SHA1", "SHA256", "SHA512"], [6, 7, 8], [15, 30, 60, 120]))


def _scan(uri: str) -> dict[str, str]:
    """Read a Key URI as an app does, without this library."""
    parts = urlsplit(uri)
    assert ("otpauth", "totp") == (parts.scheme, parts.netloc)
    return {name: value for name, (value,) in parse_qs(parts.query, strict_parsing=True).items()} | {
        "label": unquote(parts.path.removeprefix("/"))
    }


def _pyotp(uri: str) -> Callable[[int], str]:
    totp = cast("pyotp.TOTP", pyotp.parse_uri(uri))
    return totp.at


def _cryptography(uri: str) -> Callable[[int], str]:
    scanned = _scan(uri)
    secret = base64.b32decode(scanned["secret"] + "=" * (-len(scanned["secret"]) % 8))
    totp = other.TOTP(secret, int(scanned["digits"]), cast("Any", HASHES[scanned["algorithm"]]), int(scanned["period"]))
    return lambda at: totp.generate(at).decode()


def _oathtool(uri: str) -> Callable[[int], str]:
    command = shutil.which("oathtool")
    if command is None:
        not_here("oathtool", "install oathtool, or oath-toolkit")
    scanned = _scan(uri)
    fixed = [command, f"--totp={scanned['algorithm'].lower()}", f"--digits={scanned['digits']}"]
    fixed += [f"--time-step-size={scanned['period']}s", "--base32", scanned["secret"]]
    return lambda at: subprocess.run(
        [*fixed, f"--now=@{at}"], check=True, capture_output=True, text=True
    ).stdout.strip()


PHONES: dict[str, Callable[[str], Callable[[int], str]]] = {
    "pyotp": _pyotp,
    "cryptography": _cryptography,
    "oathtool": _oathtool,
}


def _live(world: World, setup: Setup, shown: Callable[[int], str], period: int) -> None:
    """Enrol a phone, sign in with it, and find its old codes refused."""
    codes = world.face.confirm_setup(USER, shown(world.clock.now), handle=setup.handle)
    assert 10 == len(codes)
    with pytest.raises(CodeReused):
        world.face.verify(USER, shown(world.clock.now))
    for drift in (0, -1, 1):
        world.clock.advance(3 * period)
        code = shown(world.clock.now + drift * period)
        assert drift == world.face.verify(USER, code).step_offset
    world.clock.advance(3 * period)
    with pytest.raises(InvalidCode):
        world.face.verify(USER, shown(world.clock.now - 2 * period))


@pytest.mark.parametrize("maker", PHONES)
@pytest.mark.parametrize(("algorithm", "digits", "period"), PARAMETERS)
def test_a_phone_of_any_kind_signs_in(algorithm: Any, digits: int, period: int, maker: str) -> None:
    """Under every policy that is allowed, three independent implementations enrol and sign in with the URI alone."""
    world = World("blocking", policy=Policy(algorithm=algorithm, digits=digits, period=period, recovery_code_length=24))
    setup = world.begin()
    shown = PHONES[maker](setup.uri)
    assert digits == len(shown(world.clock.now))

    _live(world, setup, shown, period)


@pytest.mark.parametrize("maker", PHONES)
def test_the_usual_phone_signs_in_on_both_faces(maker: str, world: World) -> None:
    """The defaults, which every app reads, on both faces."""
    setup = world.begin()

    _live(world, setup, PHONES[maker](setup.uri), 30)


def test_phones_of_all_kinds_agree(world: World) -> None:
    """Two phones that scanned the same picture are one authenticator: a code spent by one is spent for both."""
    setup = world.begin()
    pyotps, others = _pyotp(setup.uri), _cryptography(setup.uri)
    world.face.confirm_setup(USER, pyotps(world.clock.now), handle=setup.handle)
    world.clock.advance(30)
    world.face.verify(USER, others(world.clock.now))

    with pytest.raises(CodeReused):
        world.face.verify(USER, pyotps(world.clock.now))


@pytest.mark.parametrize("maker", PHONES)
def test_the_secret_typed_in_by_hand_signs_in(maker: str, world: World) -> None:
    """Someone without a camera types the groups of four into an app that assumes the usual parameters."""
    setup = world.begin()
    assert re.fullmatch(r"([A-Z2-7]{4} ){7}[A-Z2-7]{4}", setup.manual_key)
    typed = setup.manual_key.lower().replace(" ", "")
    uri = f"otpauth://totp/typed?secret={typed.upper()}&algorithm=SHA1&digits=6&period=30"

    _live(world, setup, PHONES[maker](uri), 30)


# --- pictures ------------------------------------------------------------------------------------------------------


def _seen(picture: Image.Image) -> str:
    found = zxingcpp.read_barcode(picture, try_invert=False)
    assert found is not None
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return found.text


def _of_svg(setup: Setup) -> Image.Image:
    """Draw the one path of the SVG: rows of dark modules on the light rectangle."""
    svg = setup.qr_svg()
    box = re.search(r'viewBox="0 0 (\d+) \1"', svg)
    assert box is not None
    picture = Image.new("L", (int(box[1]), int(box[1])), 255)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", svg):
        picture.paste(0, (int(x), int(y), int(x) + int(width), int(y) + 1))
    return picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.NEAREST)


def _of_png(setup: Setup) -> Image.Image:
    return Image.open(io.BytesIO(setup.qr_png()))


def _of_data_uri(setup: Setup) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(setup.qr_data_uri().removeprefix("data:image/png;base64,"))))


def _of_text(setup: Setup) -> Image.Image:
    """Show the block characters light on dark, as a terminal does."""
    lines = setup.qr_text().split("\n")
    picture = Image.new("L", (len(lines[0]), 2 * len(lines)), 0)
    for y, line in enumerate(lines):
        for x, cell in enumerate(line):
            for half in {" ": (), "▀": (0,), "▄": (1,), "█": (0, 1)}[cell]:
                picture.putpixel((x, 2 * y + half), 255)
    return picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.NEAREST)


PICTURES: dict[str, Callable[[Setup], Image.Image]] = {
    "svg": _of_svg,
    "png": _of_png,
    "data uri": _of_data_uri,
    "text": _of_text,
}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("algorithm", ["SHA1", "SHA512"])
def test_a_phone_that_scans_the_picture_signs_in(algorithm: Any, picture: str) -> None:
    """From pixels to a login: an independent reader scans, an independent phone computes."""
    world = World("blocking", policy=Policy(algorithm=algorithm, recovery_code_length=24))
    setup = world.begin()
    scanned = _seen(PICTURES[picture](setup))

    assert setup.uri == scanned
    _live(world, setup, _cryptography(scanned), 30)


def test_what_the_phone_shows_beside_the_code(world: World) -> None:
    """Issuer and account stand in the picture as the host gave them, the issuer twice."""
    setup = world.face.begin_setup(USER, account_name="Jürgen & Söhne@example.com", issuer="Bücher+Tee GmbH")
    scanned = _scan(_seen(_of_png(setup)))

    assert "Bücher+Tee GmbH:Jürgen & Söhne@example.com" == scanned["label"]
    assert "Bücher+Tee GmbH" == scanned["issuer"]


def test_a_replacement_phone_of_another_kind(world: World) -> None:
    """From one make of phone to another: the old one works until the new one is confirmed."""
    setup = world.begin()
    old = _pyotp(setup.uri)
    world.face.confirm_setup(USER, old(world.clock.now), handle=setup.handle)
    world.clock.advance(30)
    replacement = world.begin(proof=ByCode(old(world.clock.now)))
    world.clock.advance(30)
    world.face.verify(USER, old(world.clock.now))

    new = _cryptography(_seen(_of_svg(replacement)))
    world.face.confirm_setup(USER, new(world.clock.now), handle=replacement.handle)
    world.clock.advance(30)

    with pytest.raises(InvalidCode):
        world.face.verify(USER, old(world.clock.now))
    assert "totp" == world.face.verify(USER, new(world.clock.now)).method

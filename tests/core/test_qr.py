"""QR codes: an independent reader gets the exact URI back from every picture, on light and on dark ground."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest
import resvg_py
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from leaks import frames, shown
from PIL import Image

from twofa import TOTP, qr

SHORT = TOTP(bytes(range(20))).uri(account_name="alice@example.com", issuer="Example")
LONG = TOTP(bytes(range(64)), algorithm="SHA512", digits=8).uri(account_name="ä" * 55, issuer="株式会社" * 5)
LONGEST = TOTP(bytes(range(128)), algorithm="SHA512", digits=8, period=120).uri(
    account_name="a" * 330, issuer="b" * 210
)
URIS = pytest.mark.parametrize("uri", [SHORT, LONG, LONGEST, "x" * 300, "x" * 301, "x" * 2000, "x"], ids=len)
"""As from a usual enrolment, long ones, and the edges of what is drawn."""


def read(image: Image.Image) -> str | None:
    """Read a picture as a plain reader does, which does not try swapped colours."""
    found = zxingcpp.read_barcode(image, try_invert=False)
    if found is None:
        return None
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return found.text


def on_page(picture: Image.Image, ground: str, margin: int = 40) -> Image.Image:
    """Put a picture on a page of that colour, which shines through where the picture has nothing."""
    picture = picture.convert("RGBA")
    page = Image.new("RGBA", (picture.width + 2 * margin, picture.height + 2 * margin), ground)
    page.alpha_composite(picture, (margin, margin))
    return page.convert("RGB")


def rendered(svg: str, **options: Any) -> Image.Image:
    """Render an SVG with a renderer that is not ours; no background but what the picture itself draws."""
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, **options))))


def typed(text: str, *, ink: int, paper: int, half: int = 4) -> Image.Image:
    """Show block characters as a terminal with those colours does: cells of `half` by twice `half` pixels."""
    lines = text.split("\n")
    assert len({len(line) for line in lines}) == 1
    picture = Image.new("L", (half * len(lines[0]), 2 * half * len(lines)), paper)
    for y, line in enumerate(lines):
        for x, cell in enumerate(line):
            for lower, drawn in enumerate({" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}[cell]):
                if drawn:
                    picture.paste(ink, (half * x, half * (2 * y + lower), half * (x + 1), half * (2 * y + lower + 1)))
    return picture


# --- SVG -----------------------------------------------------------------------------------------------------------


@URIS
@pytest.mark.parametrize("ground", ["white", "black", "#1e1e2e", "red"])
def test_svg_on_any_page(uri: str, ground: str) -> None:
    """The picture brings its own light ground and quiet zone, so that the page's colour does not matter."""
    assert uri == read(on_page(rendered(qr.svg(uri)), ground))


@pytest.mark.parametrize("width", [150, 333, 1000])
def test_svg_scales(width: int) -> None:
    """It can be read at any size that the page gives it."""
    assert SHORT == read(on_page(rendered(qr.svg(SHORT), width=width), "black"))


def test_svg_sizes() -> None:
    """`scale` sets pixels for a page without CSS; the drawing itself is in modules."""
    for scale in (1, 5, 64):
        root = ET.fromstring(qr.svg(SHORT, scale=scale))
        side = int(root.attrib["viewBox"].split()[2])
        assert f"0 0 {side} {side}" == root.attrib["viewBox"]
        assert str(scale * side) == root.attrib["width"] == root.attrib["height"]
    assert 'width="265" height="265"' in qr.svg(SHORT)
    assert SHORT == read(rendered(qr.svg(SHORT, scale=2)))


def test_svg_stands_in_a_page() -> None:
    """No prolog, id, style, script or link: two can stand in one page, under a strict Content-Security-Policy."""
    svg = qr.svg(SHORT)
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg" ')
    assert svg.endswith("</svg>")
    assert "\n" not in svg
    root = ET.fromstring(svg)
    assert ["title", "rect", "path"] == [child.tag.removeprefix("{http://www.w3.org/2000/svg}") for child in root]
    attributes = {name for element in root.iter() for name in element.attrib}
    assert {"width", "height", "viewBox", "role", "aria-label", "shape-rendering", "fill", "d"} == attributes


def test_svg_as_a_file() -> None:
    """With a declaration it is a document of its own."""
    document = qr.svg(SHORT, xml_declaration=True)
    assert '<?xml version="1.0" encoding="UTF-8"?>\n' + qr.svg(SHORT) == document
    assert SHORT == read(rendered(document))


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("QR-Code für Ihre App", "QR-Code für Ihre App"),
        ("</title><script>alert('\"&')</script>", "</title><script>alert('\"&')</script>"),
        ('" onload="alert(1)', '" onload="alert(1)'),
        ("二维码 🔑", "二维码 🔑"),
        ("a\0b\x1fc\x7fd\ud800e\n", "abcde"),
        ("", ""),
    ],
)
def test_the_title_is_said_and_escaped(title: str, said: str) -> None:
    """A screen reader reads the title, whatever it contains; it cannot break out of the element."""
    root = ET.fromstring(qr.svg(SHORT, title=title))
    assert "img" == root.attrib["role"]
    assert said == root.attrib["aria-label"] == (root[0].text or "")
    assert 3 == len(root)


def test_the_usual_title() -> None:
    """The default title says what the picture is for."""
    assert "<title>QR code for your authenticator app</title>" in qr.svg(SHORT)


# --- PNG -----------------------------------------------------------------------------------------------------------


@URIS
@pytest.mark.parametrize("scale", [2, 3, 8])
def test_png(uri: str, scale: int) -> None:
    """A one-bit picture with its quiet zone, `scale` pixels a module, to be read on a dark page too."""
    picture = Image.open(io.BytesIO(qr.png(uri, scale=scale)))
    picture.verify()
    picture = Image.open(io.BytesIO(qr.png(uri, scale=scale)))
    assert ("PNG", "1") == (picture.format, picture.mode)
    assert picture.width == picture.height
    assert 0 == picture.width % scale
    edge = 4 * scale
    assert [(picture.width * edge, 255)] == picture.crop((0, 0, picture.width, edge)).getcolors()
    assert 0 == picture.getpixel((edge, edge))
    assert uri == read(on_page(picture, "black"))


@pytest.mark.parametrize("scale", range(1, 17))
def test_png_of_any_scale(scale: int) -> None:
    """Lines that do not fill their last byte are padded as PNG wants it."""
    picture = Image.open(io.BytesIO(qr.png(SHORT, scale=scale))).convert("L")
    assert SHORT == read(on_page(picture.resize((530, 530), Image.Resampling.NEAREST), "black"))


def test_the_largest_scale() -> None:
    """A module of 64 pixels is still drawn."""
    assert 53 * 64 == Image.open(io.BytesIO(qr.png(SHORT, scale=64))).width


def test_data_uri() -> None:
    """The same PNG, for the `src` of an `<img>`."""
    prefix, content = qr.data_uri(SHORT, scale=3).split(",")
    assert "data:image/png;base64" == prefix
    assert qr.png(SHORT, scale=3) == base64.b64decode(content, validate=True)
    assert qr.data_uri(SHORT) == qr.data_uri(SHORT, scale=8)


# --- text ----------------------------------------------------------------------------------------------------------


@URIS
def test_text_on_a_dark_terminal(uri: str) -> None:
    """On a terminal of any dark colour the light modules are drawn, so that a reader sees dark on light."""
    for ink, paper in [(255, 0), (200, 40)]:
        assert uri == read(on_page(typed(qr.text(uri), ink=ink, paper=paper), "black"))


@URIS
def test_text_on_a_light_terminal(uri: str) -> None:
    """`invert` is for terminals that draw dark on light."""
    assert uri == read(on_page(typed(qr.text(uri, invert=True), ink=0, paper=255), "white"))


def test_text_for_the_other_terminal_has_swapped_colours() -> None:
    """Why there are two: on the other background only a reader that swaps colours sees a code."""
    for text, ink, paper in [(qr.text(SHORT), 0, 255), (qr.text(SHORT, invert=True), 255, 0)]:
        picture = typed(text, ink=ink, paper=paper)
        assert read(picture) is None
        found = zxingcpp.read_barcode(picture, try_invert=True)
        assert found is not None
        assert SHORT == found.text


def test_text_is_plain() -> None:
    """It consists of four characters and line breaks, with the quiet zone drawn; `invert` gives the negative."""
    text = qr.text(SHORT)
    assert set(" ▀▄█\n") == set(text)
    lines = text.split("\n")
    assert [53] * 27 == [len(line) for line in lines]
    assert all(line.startswith("████") and line.endswith("████") for line in lines)
    assert ["█" * 53] * 4 == [*lines[:2], *lines[-2:]]
    assert text.translate(str.maketrans(" ▀▄█", "█▄▀ ")) == qr.text(SHORT, invert=True)


# --- all pictures --------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.binary(min_size=16, max_size=128), st.text("abcdefghij @.", max_size=40), st.integers(0, 200))
def test_any_uri(secret: bytes, name: str, issuer: int) -> None:
    """The picture carries whatever URI an authenticator has."""
    uri = TOTP(secret).uri(account_name=f"x{name}x", issuer="I" * (issuer + 1))
    assert uri == read(Image.open(io.BytesIO(qr.png(uri, scale=4))))


def test_error_correction() -> None:
    """Usual URIs take stronger error correction than long ones, whose modules should not become too small."""
    levels = [zxingcpp.read_barcode(rendered(qr.svg(uri))) for uri in (SHORT, "x" * 300, "x" * 301, LONGEST)]
    assert ["M", "M", "L", "L"] == [level.ec_level for level in levels if level]


def test_a_spoilt_picture_is_still_read() -> None:
    """A code of usual length is still read when one of every twenty modules is wrong."""
    picture = Image.open(io.BytesIO(qr.png(SHORT))).convert("L")
    picture.paste(0, (200, 200, 250, 250))
    assert SHORT == read(picture)


DRAWERS: list[Any] = [qr.svg, qr.png, qr.data_uri, qr.text]


@pytest.mark.parametrize("draw", DRAWERS)
@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("", ValueError, "1 to 2000 characters, not 0"),
        ("CANARY" * 1000, ValueError, "1 to 2000 characters, not 6000"),
        ("CANARYä", ValueError, "ASCII characters only: the others are percent-encoded"),
        (b"CANARY", TypeError, "a Key URI is str, not bytes"),
        (None, TypeError, "a Key URI is str, not NoneType"),
    ],
)
def test_what_cannot_be_drawn(draw: Any, uri: Any, error: type[Exception], message: str) -> None:
    """Anything but an ASCII text of reasonable length is refused, without showing it."""
    with pytest.raises(error, match=message) as refusal:
        draw(uri)
    assert "CANARY" not in shown(refusal.value)
    assert frames(refusal.value) >= 1


@pytest.mark.parametrize("draw", [qr.svg, qr.png, qr.data_uri])
@pytest.mark.parametrize("scale", [0, -1, 65, 10**9, 1.5, True, "8", None])
def test_no_scale(draw: Any, scale: Any) -> None:
    """A scale is 1 to 64 pixels; the refusal does not show the URI."""
    with pytest.raises(ValueError, match="scale must be a whole number of pixels from 1 to 64") as refusal:
        draw("CANARY", scale=scale)
    assert "CANARY" not in shown(refusal.value)


def test_only_pictures_load_the_qr_library() -> None:
    """Importing the library, its module for pictures included, does not import `qrcode`; drawing does."""
    script = (
        "import sys; from twofa import qr; print('qrcode' in sys.modules); qr.text('a'); print('qrcode' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ["False", "True"] == answer.stdout.split()


def test_nothing_is_fetched() -> None:
    """The only address in a picture is the name of the SVG language (ASVS 5.0 14.2.3)."""
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"http[^\"]*", qr.svg(SHORT))

"""Pictures of a Key URI: SVG, PNG, a `data:` URI, and text for a terminal.

The `qrcode` library decides which modules are dark. This module draws them, with nothing but the standard library.
All pictures have a quiet zone of four modules, and are dark on light even in a dark page: many readers do not see a
code with its colours swapped (ISO/IEC 18004 §5.3.8). They are drawn in the host's own process, since a secret must not
travel to a chart service (ASVS 5.0 14.2.3).

`qrcode` is imported when the first picture is drawn: only enrolment needs it.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from html import escape
from itertools import groupby
from struct import pack

__all__ = ["SVG", "data_uri", "png", "svg", "text"]

TITLE = "QR code for your authenticator app"

_QUIET_ZONE = 4
"""Modules on each side."""
_LONG = 300
"""Characters beyond which a phone gains more from larger modules than from stronger error correction."""
_LONGEST = 2000
"""Characters; a QR code holds a few more, but a Key URI of this library has at most 1,024."""
_LARGEST_SCALE = 64


class SVG(str):
    """An SVG element as text. Template engines that escape text take it as it is, as they take their own markup."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the element: what Jinja, MarkupSafe and Django ask for before they escape."""
        return str(self)


def svg(uri: str, *, title: str = TITLE, scale: int = 5, xml_declaration: bool = False) -> SVG:
    """Return an SVG element to put into a page as it is.

    It has no `id`, script or style, so that it can stand beside another and under a strict Content-Security-Policy, and
    it takes any size that the page's CSS gives it, for example `width: 100%; height: auto`.

    Args:
        uri: the text to encode.
        title: what a screen reader says, in the user's language; escaped here.
        scale: pixels of a module where no CSS says otherwise, 1 to 64.
        xml_declaration: begins with an XML declaration, for a file rather than an element of a page.

    Raises:
        ValueError: for a `scale` out of bounds, or a `uri` that is empty or has more than 2,000 characters.
    """
    problem = _problem_with(uri, scale)
    if problem is not None:
        del uri
        raise problem
    rows = _modules(uri)
    del uri  # a title of the wrong type raises below, and this frame would show the URI
    side = len(rows)
    name = escape("".join(filter(str.isprintable, title)))
    dark = "".join(f"M{x} {y}h{width}v1h-{width}z" for y, row in enumerate(rows) for x, width in _dark_runs(row))
    return SVG(
        f"{_XML_DECLARATION if xml_declaration else ''}"
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side * scale}" height="{side * scale}"'
        f' viewBox="0 0 {side} {side}" role="img" aria-label="{name}" shape-rendering="crispEdges">'
        f'<title>{name}</title><rect width="{side}" height="{side}" fill="#fff"/><path fill="#000" d="{dark}"/></svg>'
    )


def png(uri: str, *, scale: int = 8) -> bytes:
    """Return a black and white PNG file, `scale` pixels a module.

    Raises `ValueError` for a `scale` outside 1 to 64, or a `uri` that is empty or has more than 2,000 characters.
    """
    problem = _problem_with(uri, scale)
    if problem is not None:
        del uri
        raise problem
    rows = _modules(uri)
    side = len(rows) * scale
    lines = b"".join(_line(row, scale) * scale for row in rows)
    header = pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # one bit of greyscale
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines, 9)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def data_uri(uri: str, *, scale: int = 8) -> str:
    """Return the PNG file as a `data:` URI for an `<img>`; the page's policy must allow `img-src data:`.

    Raises `ValueError` as `png` does.
    """
    problem = _problem_with(uri, scale)
    if problem is not None:
        del uri
        raise problem
    return "data:image/png;base64," + b64encode(png(uri, scale=scale)).decode("ascii")


def text(uri: str, *, invert: bool = False) -> str:
    """Return the picture as lines of half-block characters, two modules high, without colours or control codes.

    A terminal draws characters light on dark, so the light modules are drawn, and the dark ones left out.
    `invert=True` is for a terminal that draws them dark on light.

    Raises `ValueError` for a `uri` that is empty or has more than 2,000 characters.
    """
    problem = _problem_with(uri, 1)
    if problem is not None:
        del uri
        raise problem
    rows = _modules(uri)
    rows += [[False] * len(rows)] * (len(rows) % 2)  # the quiet zone fills the last line
    return "\n".join(
        "".join(_BLOCKS[upper == invert, lower == invert] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )


_BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
"""By whether the upper and the lower half are drawn."""
_XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _problem_with(uri: object, scale: object) -> Exception | None:
    """Return what is wrong instead of raising it, so that no frame of a traceback holds the URI."""
    if not isinstance(uri, str):
        return TypeError(f"a Key URI is str, not {type(uri).__name__}")
    if not 1 <= len(uri) <= _LONGEST:
        return ValueError(f"a Key URI to draw has 1 to {_LONGEST} characters, not {len(uri)}")
    if not uri.isascii():
        return ValueError("a Key URI has ASCII characters only: the others are percent-encoded")
    if type(scale) is not int or not 1 <= scale <= _LARGEST_SCALE:
        return ValueError(f"scale must be a whole number of pixels from 1 to {_LARGEST_SCALE}")
    return None


def _modules(uri: str) -> list[list[bool]]:
    """Return rows of modules, dark ones true, with the quiet zone."""
    from qrcode.constants import ERROR_CORRECT_L, ERROR_CORRECT_M
    from qrcode.main import QRCode

    level = ERROR_CORRECT_L if len(uri) > _LONG else ERROR_CORRECT_M
    code = QRCode(error_correction=level, border=_QUIET_ZONE)
    code.add_data(uri.encode("ascii"))
    return [[bool(module) for module in row] for row in code.get_matrix()]


def _dark_runs(row: list[bool]) -> list[tuple[int, int]]:
    """Return where dark modules begin in a row, and how many follow each other."""
    runs: list[tuple[int, int]] = []
    x = 0
    for dark, group in groupby(row):
        width = len(list(group))
        if dark:
            runs.append((x, width))
        x += width
    return runs


def _line(row: list[bool], scale: int) -> bytes:
    """Return a line of pixels, eight a byte, light ones set, behind the byte that says "no filter"."""
    bits = "".join(("0" if dark else "1") * scale for dark in row)
    bits += "0" * (-len(bits) % 8)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))

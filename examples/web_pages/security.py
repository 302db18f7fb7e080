"""The headers that every answer carries."""

HEADERS = {
    # ASVS 5.0 3.4.3: nothing but our own files, no inline script or style. The QR code is inline SVG, which needs none.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",  # 3.4.1; browsers heed it over TLS only
    "X-Content-Type-Options": "nosniff",  # 3.4.4
    "Referrer-Policy": "same-origin",  # 3.4.5
    "Cross-Origin-Opener-Policy": "same-origin",  # 3.4.8
    "Cross-Origin-Resource-Policy": "same-origin",  # 3.5.8
}

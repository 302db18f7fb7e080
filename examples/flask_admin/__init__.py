"""A small, complete web application with two-factor authentication: the page that `twofa` is made for.

The web code is a thin skin. `administration.py` and `sign_in.py` turn forms into calls and errors into words; what
counts as a proof, when a code is refused and what stops working is decided by the library alone.
"""

from flask_admin.app import create_app

__all__ = ["create_app"]

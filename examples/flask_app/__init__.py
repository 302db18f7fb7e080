"""A small, complete web application with two-factor authentication: the page that `twofa` is made for.

Read `sign_in.py` and `administration.py`: they are all that has to do with the second factor. What counts as a proof,
who is signed in and what stops working is decided by the library; the pages, shared with the other examples, are in
`examples/web_pages`.
"""

from flask_app.app import create_app

__all__ = ["create_app"]

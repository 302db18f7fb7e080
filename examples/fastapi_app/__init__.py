"""A web service on FastAPI with two faces: pages for browsers, and a JSON API whose clients carry bearer tokens.

Read `sign_in.py`, `administration.py` and `api.py`: they are all that has to do with the second factor. The pages look
and read like those of `flask_app`: both take them from `examples/web_pages`.
"""

from fastapi_app.app import create_app

__all__ = ["create_app"]

"""A small, complete Django site with two-factor authentication, with Django's own users and admin.

Read `middleware.py` first: it lets nobody in without the library's word, whichever way they came. Then `sign_in.py` and
`administration.py`, which are the pages. `settings.py` and `security.py` put it together; what the pages look like is
in `examples/web_pages`, shared with the other examples.
"""

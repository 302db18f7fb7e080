"""To import this makes the process one of `examples/django_site`, so that models can be imported after it."""

import django_project

django_project.set_up()
READY = True

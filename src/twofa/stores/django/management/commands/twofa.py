"""`manage.py twofa`: the operator's commands on the project's own `TwoFactor`, which `TWOFA_APP` names."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from typing_extensions import override

from twofa.cli import add_commands, run_by_name
from twofa.cli.application import VARIABLE
from twofa.stores.django.checks import SET_IT

if TYPE_CHECKING:
    from typing import TextIO


class Command(BaseCommand):
    """The command."""

    help = "Look after the second factor of your users."
    requires_system_checks = ()  # `twofa check` is one itself

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_commands(parser)

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        arguments, name = Namespace(**options), getattr(settings, VARIABLE, None)
        if name is None and arguments.run is not None:
            raise CommandError(f"the setting {VARIABLE} is missing: {SET_IT}")
        out, err = cast("TextIO", self.stdout), cast("TextIO", self.stderr)
        code = run_by_name(arguments, name, out, err)
        if code:
            sys.exit(code)

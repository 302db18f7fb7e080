"""A policy for tests, named so that nobody takes it for anything else."""

from __future__ import annotations

from twofa.policy import Policy

FOR_TESTS_ONLY = Policy(recovery_code_length=24)
"""Unfit for production only because nobody wants to copy codes of 24 symbols from paper: at 115 bits they need no slow
hash, so that a test that enrols a user takes a millisecond instead of a second. Everything else is as by default."""

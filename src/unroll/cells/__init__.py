"""Recurrences, one a file."""

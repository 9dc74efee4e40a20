"""Hydra looks for launchers here."""

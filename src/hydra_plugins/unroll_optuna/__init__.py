"""Hydra looks for sweepers here."""

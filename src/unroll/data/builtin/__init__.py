"""Data that needs no network."""

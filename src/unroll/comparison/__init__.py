"""Runs side by side: tables, pictures, one page."""

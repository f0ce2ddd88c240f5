"""Windlass: from a folder of files to a gated, released, served and traced application."""

__version__ = "0.1.0"

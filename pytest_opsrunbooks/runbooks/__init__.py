"""Runbooks: the catalog of pages and where their links go."""

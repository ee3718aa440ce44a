"""Placeholder docstring: replaced below."""

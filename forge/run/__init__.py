"""Run what is missing."""

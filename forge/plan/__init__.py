"""Turn a manifest into steps with keys."""

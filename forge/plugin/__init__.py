"""Find plugins, and say what they offer."""

"""The HTML page of a manifest: what the store has of it, gathered, measured and drawn."""

"""Talk to a person."""

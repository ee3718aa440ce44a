"""Keep artifacts, run records and journals by digest."""

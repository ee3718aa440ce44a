"""Wait for what other processes do."""

import time


def wait_until(found, seconds=120.0):
    """Return what *found* returns once it is true; fail after some time."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)
    return value

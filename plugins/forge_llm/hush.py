"""Keep a library's advice that helps nobody here out of logs, and nothing else of what it says."""

from __future__ import annotations

import logging

LOGGER = "bitsandbytes.backends.cpu.ops"
SAID = "Failed to load CPU gemm_4bit_forward"
"""What bitsandbytes warns of as it is imported: a kernel for inference that training switches off anyway."""


class _Unsaid(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(SAID)


def hush_bitsandbytes() -> None:
    """Take that one message away; call it before whatever imports bitsandbytes, as peft and transformers do."""
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(each, _Unsaid) for each in logger.filters):
        logger.addFilter(_Unsaid())

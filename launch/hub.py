"""Errors of downloads from the Hugging Face hub, shared by the downloads of models and of problems."""

from __future__ import annotations

from huggingface_hub.errors import HFValidationError, HTTPError, XetDownloadError

HUB_ERRORS = (OSError, HTTPError, HFValidationError, XetDownloadError)
"""Exceptions that a download raises; the hub's own HTTP and cache errors are subclasses of OSError."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

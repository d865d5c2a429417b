"""Errors of downloads from the Hugging Face hub, shared by the downloads of models and of problems."""

from __future__ import annotations

from collections.abc import Sequence

from huggingface_hub.errors import HFValidationError, HTTPError, XetDownloadError

HUB_ERRORS = (OSError, HTTPError, HFValidationError, XetDownloadError)
"""Exceptions that a download raises; the hub's own HTTP and cache errors are subclasses of OSError."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def format_download_command(repository: str, patterns: Sequence[str], folder: str) -> str:
    """Return the command that downloads files of a data set into a folder.

    Args:
        repository: data set on the hub, as "owner/name".
        patterns: patterns of the files.
        folder: the folder.
    """
    includes = " ".join(f"--include '{pattern}'" for pattern in patterns)
    return f"hf download {repository} --repo-type dataset {includes} --local-dir {folder}"

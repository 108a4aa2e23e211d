"""What the stand-in refuses."""

from __future__ import annotations

from include.errors import ProdsysError


class JobsubError(ProdsysError):
    """An option is wrong or cannot be served here; jobsub_lite raises and exits with 1 at these places."""

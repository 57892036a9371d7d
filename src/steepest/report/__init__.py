"""Pages, pictures and text of results. A page loads nothing, and its `policy` allows its own script only."""

from __future__ import annotations

import base64
import hashlib


def policy(script: str) -> str:
    """The content security policy of a page: this script, styles, and pictures inside the page or made by it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = ["default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data: blob:"]
    return "; ".join([*allowed, "base-uri 'none'", "form-action 'none'"])

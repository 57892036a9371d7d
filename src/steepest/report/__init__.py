"""Pages, pictures and text of what was found. Pages ask for nothing, and run their own script alone: `policy` says so."""

from __future__ import annotations

import base64
import hashlib


def policy(script: str) -> str:
    """What a page tells the browser to allow it: this script, styles, and pictures that are in the page or made by it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = ["default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data: blob:"]
    return "; ".join([*allowed, "base-uri 'none'", "form-action 'none'"])

"""Reports, figures and terminal output of results. A page loads nothing, and its `policy` allows only its own script."""

from __future__ import annotations

import base64
import hashlib


def policy(script: str) -> str:
    """Content security policy of a page: this inline script, inline styles, and images embedded or created by the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = ["default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data: blob:"]
    return "; ".join([*allowed, "base-uri 'none'", "form-action 'none'"])

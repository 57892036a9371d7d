"""Pages, pictures and text of what was found. Pages ask for nothing: POLICY tells the browser so."""

POLICY = "; ".join(
    [f"{kind}-src 'none'" for kind in ("connect", "font", "media", "object", "frame")]
    + ["img-src data: blob:", "base-uri 'none'"]
)

"""Browser helpers for the tests of the report and the playground; pages are opened offline."""

import contextlib
import time

COPY = "navigator.clipboard && (navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve() })"


@contextlib.contextmanager
def opened(chromium, path, width=900, height=800, address="", **more):
    """Open the page offline; requests and console errors fail the test. Copied text is in `window.copied`."""
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True, **more)
    context.add_init_script(COPY)
    tab = context.new_page()
    faults = []
    own = ("file:", "data:", "blob:")
    tab.on("request", lambda request: faults.append(request.url) if not request.url.startswith(own) else None)
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(path.resolve().as_uri() + (f"#{address}" if address else ""))
    yield tab
    assert not faults
    context.close()


def until(tab, expression, most=30.0):
    """Wait up to some seconds until an expression is true. Playwright's own wait evaluates text, which the pages forbid."""
    ends = time.monotonic() + most
    while not tab.evaluate(expression):
        assert time.monotonic() < ends, expression
        tab.wait_for_timeout(50)

"""Pages in a browser, offline, for the tests of the report and of the playground."""

import contextlib
import time

COPY = "navigator.clipboard && (navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve() })"


@contextlib.contextmanager
def opened(chromium, path, width=900, height=800, address="", **more):
    """The page, offline; anything it asks for or complains of fails the test. What is copied is `window.copied`."""
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
    """Wait for an expression to be true, for so many seconds. Playwright's own way evaluates text, which pages forbid."""
    ends = time.monotonic() + most
    while not tab.evaluate(expression):
        assert time.monotonic() < ends, expression
        tab.wait_for_timeout(50)

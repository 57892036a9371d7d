"""What tests of the workshop share."""

import functools

import pytest

from steepest_workshop.lessons import reproduce


@pytest.fixture(scope="session")
def reproduced():
    """The rows of a document's quick tier, made once: `reproduced("001")`; nothing changes them."""
    return functools.cache(lambda number: reproduce(number, "quick"))

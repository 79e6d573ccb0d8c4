"""What the tests of the catalogue share."""

from collections.abc import Iterator

import pytest
from conftest_catalogue import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as behaviour:
        yield behaviour

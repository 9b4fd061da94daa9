"""Files of these tests are in memory."""

from __future__ import annotations

import pytest

from tests import in_memory


@pytest.fixture
def tmp_path(tmp_path):
    with in_memory.folder(otherwise=tmp_path) as folder:
        yield folder

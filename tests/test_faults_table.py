"""Every promise of FAULTS.md is held by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TABLE = Path(__file__).with_name("FAULTS.md")


def test_every_row_names_tests_that_exist():
    rows = [line.split("|")[1:-1] for line in TABLE.read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for fault, promise, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert fault.strip() and promise.strip() and named, fault
        for file, name in named:
            assert f"\ndef {name}(" in (TABLE.parent.parent / file).read_text(), (file, name)

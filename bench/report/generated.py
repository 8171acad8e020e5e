"""Parts of Markdown pages that scripts write: the lines between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""

from __future__ import annotations

from pathlib import Path


def _parts(page: Path, name: str) -> tuple[str, str, str]:
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name}: begin -->\n")
    content, end, after = rest.partition(f"\n<!-- {name}: end -->")
    if not (begin and end):
        raise ValueError(f"{page}: has no part {name!r}")
    return before + begin, content, end + after


def part(page: Path, name: str) -> str:
    """The part of that name, without a line break at its end; a ValueError if the page has none."""
    return _parts(page, name)[1]


def write_part(page: Path, name: str, content: str) -> None:
    """Replace the part of that name."""
    before, _, after = _parts(page, name)
    page.write_text(before + content.rstrip("\n") + after, encoding="utf-8")

"""``python -m nst_gluon``."""

from __future__ import annotations

from typing import NoReturn

from nst_gluon.system import ending


def main() -> int:
    """Run the command line; imported only now, so that Ctrl-C during the imports is an orderly end too."""
    from nst_gluon.cli.main import main

    return main()


def command() -> NoReturn:
    """All that the process does, here and as the installed command ``nst-gluon``."""
    ending.program(main)


if __name__ == "__main__":
    command()

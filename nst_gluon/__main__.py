"""``python -m nst_gluon``."""

from __future__ import annotations

from nst_gluon.system import ending


def main() -> int:
    """Run the command line; imported only now, so that Ctrl-C during the imports is an orderly end too."""
    from nst_gluon.cli.main import main

    return main()


if __name__ == "__main__":
    ending.program(main)

"""The subcommands of ``python -m nst_gluon``. Each module has ``add(commands)``, which adds its parsers."""

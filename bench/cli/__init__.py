"""The commands of ``python -m bench`` beside ``run``, ``report`` and ``list``: a module each, imported by
bench.cli.main.

A module has ``add(commands)``, which adds its argument parser, and ``main(options) -> int``, which runs it and returns
the exit status. What is heavy (pandas, scipy) is imported in ``main``, never at the top.
"""

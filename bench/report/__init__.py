"""Reports from a run directory: report.md, report.html, plots/*, images/row.png, training/*."""

from __future__ import annotations

from pathlib import Path


def build(run_dir: str | Path) -> Path:
    """Write the report of a run into its directory; the path of report.html.

    Reads run.json, cells.jsonl, samples.csv, curves.csv, images/ and summary.csv (made first if it is
    missing); and, the first time, how the nets were trained, from beside their files. Raises UserError when the
    folder is no run or cannot be written.
    """
    from bench.analysis import claims, summary
    from bench.report import document, html, markdown, pictures, plots, training
    from bench.store.reader import read_run
    from nst_gluon.system.files import write_atomically

    directory = Path(run_dir)
    if not (directory / "summary.csv").is_file():
        summary.summarise(directory)
        claims.evaluate(directory)
    run = read_run(directory)
    training.record(run)
    made = document.make(directory)
    plots.write_all(made.plots, directory / "plots")
    row = pictures.row(run)
    if row is not None:
        write_atomically(directory / "images" / "row.png", row)
    write_atomically(directory / "report.md", markdown.write(made).encode())
    return write_atomically(directory / "report.html", html.write(made).encode())

"""Reports from a run directory: report.md, report.html, summary.csv, claims.csv, plots, images/row.png, training."""

from __future__ import annotations

from pathlib import Path


def build(run_dir: str | Path) -> Path:
    """Write the report of a run into its directory; the path of report.html.

    Reads the run once, computes its summary and the verdicts on the claims, and the first time copies how the nets
    were trained from beside their files. Raises UserError when the folder is no run, holds nothing but a run's summary,
    or cannot be written.
    """
    from bench.analysis import claims, summary
    from bench.analysis.analysed import analyse
    from bench.report import document, html, markdown, pictures, plots, training
    from bench.store.reader import read_run
    from bench.store.run_folder import refuse_links
    from nst_gluon.system.errors import UserError
    from nst_gluon.system.files import quoted, write_atomically

    run = read_run(run_dir)
    if not run.records and not len(run.samples) and (run.directory / "summary.csv").is_file():
        raise UserError(f"RUN: {quoted(run.directory)} has only its summary, which a report would empty; give a run "
                        "with cells.jsonl and samples.csv")  # fmt: skip
    refuse_links(run.directory, ("images", "plots", training.FOLDER))
    training.record(run)
    analysed = analyse(run)
    summary.write(analysed.summary, run.directory)
    claims.write(analysed.findings, run.directory)
    made = document.make(analysed)
    plots.write_all(made.plots, run.directory / "plots")
    row = pictures.side_png(made.side)
    if row is not None:
        write_atomically(run.directory / "images" / "row.png", row)
    write_atomically(run.directory / "report.md", markdown.write(made))
    return write_atomically(run.directory / "report.html", html.write(made))

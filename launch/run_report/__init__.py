"""Run report: a run directory as static HTML pages, as a comparison of runs, and as text."""

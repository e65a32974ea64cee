"""Results -> tables. Reads records through `harness.results` and imports neither torch nor Hydra.

Read `__main__` from the bottom, then: `read` (sweeps, records, predictions), `compare` (what may be ranked, and how),
`frame` (one row a run, raw numbers), `tables` (headings, cells and notes), `render` (Markdown, CSV, LaTeX).
"""

"""Results -> tables. Reads records through `harness.results.folder` and imports neither torch nor Hydra.

Read `__main__` from the bottom, then: `read` (sweeps, records, predictions), `groups` (rows that differ only in the
seed), `paired` and `statistics` (how sure), `compare` (what may be ranked, and how), `frame` (a line a run, raw
numbers), `tables` (headings, cells and notes), `render` and `export` (formats).
"""

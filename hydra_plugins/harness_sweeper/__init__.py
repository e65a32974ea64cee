"""Hydra's sweeper for this project: a named sweep is a list of grids."""

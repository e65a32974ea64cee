"""Figures of a sweep: a file here that does not begin with `_` is one, `draw(data)` makes it or raises `NoData`."""

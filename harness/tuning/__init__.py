"""Tuning: which trials a row needs, and which setting they choose, by what trials gave on validation data alone."""

"""Tuning: which trials a row needs, and which setting they choose. It knows trials by their validation losses alone."""

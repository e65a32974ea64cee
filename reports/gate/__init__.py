"""The regression gate: a baseline in a text file, a fitting test for each measure, and what moved."""

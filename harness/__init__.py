"""Compare parameter-efficient fine-tuning methods: what each one costs and what it buys."""

__version__ = "0.4.0"

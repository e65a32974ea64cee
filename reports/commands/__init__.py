"""Commands of `python -m reports` beside the tables of a sweep: a file is one, with `main(arguments) -> exit code`."""

"""Tables as Markdown, CSV or LaTeX."""

from __future__ import annotations

import pandas as pd

from reports.tables import Cell, Table

MARKDOWN_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\|*`<"} | {"\n": " "})
LATEX_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%_#${}"}
    | {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "<": "\\textless{}",
        ">": "\\textgreater{}",
        "|": "\\textbar{}",
        "\N{EM DASH}": "---",
        "\N{DAGGER}": "\\textdagger{}",
        "\N{MINUS SIGN}": "$-$",
        # A bracket after a row's end would be read as that command's argument.
        "[": "{[}",
        "]": "{]}",
        "\n": " ",
    }
)


def render(tables: list[Table], form: str) -> str:
    """Tables in the format `markdown`, `csv` or `latex`, ending in a newline."""
    if form == "csv":
        return to_csv(tables)
    return "\n".join((to_markdown if form == "markdown" else to_latex)(table) for table in tables)


def to_csv(tables: list[Table]) -> str:
    """The raw numbers of all tables under one header, in full precision; a run that two tables show is one line."""
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return str(frame.drop_duplicates().to_csv(index=False))


def to_markdown(table: Table) -> str:
    """A heading, the paragraphs, a pipe table and the notes."""
    frame = pd.DataFrame(
        [[_markdown_cell(cell) for cell in row] for row in table.rows],
        columns=[markdown(heading.text) for heading in table.headings],
    )
    aligned = ["right" if heading.numeric else "left" for heading in table.headings]
    grid = frame.to_markdown(index=False, tablefmt="pipe", colalign=aligned, disable_numparse=True)
    notes = "\n".join(f"- {f'[{mark}] ' if mark else ''}{markdown(text)}" for mark, text in table.notes)
    paragraphs = [markdown(paragraph) for paragraph in table.paragraphs]
    return "\n\n".join(part for part in (f"## {markdown(table.title)}", *paragraphs, str(grid), notes) if part) + "\n"


def markdown(text: str) -> str:
    """Text whose special characters stand for themselves, in a table cell too."""
    return text.translate(MARKDOWN_SPECIAL)


def _markdown_cell(cell: Cell) -> str:
    """The text, then its marks; numbers of notes in brackets."""
    marks = (f"[{mark}]" if mark.isdigit() else mark for mark in cell.marks)
    return " ".join((markdown(cell.text), *marks))


def to_latex(table: Table) -> str:
    """A float with booktabs rules, shrunk to the line's width if it is wider, and its notes."""
    frame = pd.DataFrame(
        [[_latex_cell(cell) for cell in row] for row in table.rows],
        columns=[latex(heading.text) for heading in table.headings],
    )
    aligned = "".join("r" if heading.numeric else "l" for heading in table.headings)
    grid = frame.style.hide(axis="index").to_latex(hrules=True, column_format=aligned)
    notes = [f"{_raised(mark) if mark else ''}{latex(text)}\\par" for mark, text in table.notes]
    caption = " ".join(latex(text) for text in (f"{table.title}.", *table.paragraphs))
    lines = [
        "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.",
        "\\begin{table}",
        f"\\caption{{{caption}}}",
        "\\centering",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"{grid.strip()}%",
        "}",
        "\\par\\medskip\\raggedright\\footnotesize",
        *notes,
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """Text whose special characters stand for themselves."""
    return text.translate(LATEX_SPECIAL)


def _latex_cell(cell: Cell) -> str:
    """The text, then its marks, raised."""
    return latex(cell.text) + "".join(_raised(mark) for mark in cell.marks)


def _raised(mark: str) -> str:
    """A mark as a superscript."""
    return f"\\textsuperscript{{{latex(mark)}}}"

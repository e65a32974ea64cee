"""Tables as Markdown, LaTeX or HTML."""

from __future__ import annotations

import html
import re

import pandas as pd

from reports.values.table import Cell, Table

MARKDOWN_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\|*`<"} | {"\n": " "})
MARKDOWN_MARKUP = re.compile(r"(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|~~|\](?=[(\[:])")
"""What means something only where it stands: an underscore at the edge of a word, an entity, a link."""
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
    """Tables in the format `markdown`, `latex`, `tabular` or `html` (a whole document), ending in a newline."""
    if form == "html":
        return document(tables)
    return "\n".join(FORMS[form](table) for table in tables)


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
    return MARKDOWN_MARKUP.sub(r"\\\g<0>", text.translate(MARKDOWN_SPECIAL))


def _markdown_cell(cell: Cell) -> str:
    """The text, then its marks; numbers of notes in brackets."""
    marks = (f"[{mark}]" if mark.isdigit() else mark for mark in cell.marks)
    return " ".join((markdown(cell.text), *marks))


def to_tabular(table: Table) -> str:
    """The tabular alone, to be read by \\input; what a caption and notes could say stands before it, as comments."""
    said = [f"{table.title}.", *table.paragraphs, *(f"{mark} {text}".strip() for mark, text in table.notes)]
    lines = ["% Needs \\usepackage{booktabs}.", *(f"% {' '.join(text.split())}" for text in said), _grid(table)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A float with booktabs rules, shrunk to the line's width if it is wider, and its notes."""
    notes = [f"{_raised(mark) if mark else ''}{latex(text)}\\par" for mark, text in table.notes]
    caption = " ".join(latex(text) for text in (f"{table.title}.", *table.paragraphs))
    lines = [
        "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.",
        "\\begin{table}",
        f"\\caption{{{caption}}}",
        "\\centering",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"{_grid(table)}%",
        "}",
        "\\par\\medskip\\raggedright\\footnotesize",
        *notes,
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _grid(table: Table) -> str:
    """The tabular; the best score, and those that are tied with it, are bold."""
    frame = pd.DataFrame(
        [[_latex_cell(cell) for cell in row] for row in table.rows],
        columns=[latex(heading.text) for heading in table.headings],
    )
    aligned = "".join("r" if heading.numeric else "l" for heading in table.headings)
    return str(frame.style.hide(axis="index").to_latex(hrules=True, column_format=aligned)).strip()


def latex(text: str) -> str:
    """Text whose special characters stand for themselves."""
    return text.translate(LATEX_SPECIAL)


def _latex_cell(cell: Cell) -> str:
    """The text, then its marks, raised."""
    text = f"\\textbf{{{latex(cell.text)}}}" if cell.best else latex(cell.text)
    return text + "".join(_raised(mark) for mark in cell.marks)


def _raised(mark: str) -> str:
    """A mark as a superscript."""
    return f"\\textsuperscript{{{latex(mark)}}}"


FORMS = {"markdown": to_markdown, "latex": to_latex, "tabular": to_tabular}

STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color-scheme: light dark }
.wide { overflow-x: auto }
table { border-collapse: collapse; border-block: 2px solid }
thead { border-bottom: 1px solid }
th, td { padding: .2rem .6rem; text-align: left; white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
"""


def document(tables: list[Table]) -> str:
    """A page of its own with the tables; it asks for nothing else."""
    title = html.escape(tables[0].title if len(tables) == 1 else "Tables")
    head = f'<meta charset="utf-8">\n<title>{title}</title>\n<style>\n{STYLE}</style>'
    body = "\n".join(to_html(table) for table in tables)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}</body>\n</html>\n'


def to_html(table: Table) -> str:
    """A table with its heading, paragraphs and notes, as a part of a page."""
    kinds = [' class="number"' if heading.numeric else "" for heading in table.headings]
    heads = "".join(f"<th{kind}>{html.escape(h.text)}</th>" for kind, h in zip(kinds, table.headings, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{_html_cell(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    paragraphs = "".join(f"<p>{html.escape(text)}</p>\n" for text in table.paragraphs)
    notes = "".join(f"<li>{_raised_html(mark)}{html.escape(text)}</li>\n" for mark, text in table.notes)
    return (
        f"<section>\n<h2>{html.escape(table.title)}</h2>\n{paragraphs}"
        f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n'
        f"<ul>\n{notes}</ul>\n</section>\n"
    )


def _html_cell(cell: Cell) -> str:
    """The text, then its marks, raised."""
    text = f"<b>{html.escape(cell.text)}</b>" if cell.best else html.escape(cell.text)
    return text + "".join(map(_raised_html, cell.marks))


def _raised_html(mark: str) -> str:
    """A mark as a superscript, if there is one."""
    return f"<sup>{html.escape(mark)}</sup>" if mark else ""

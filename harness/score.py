"""Score a file of outputs: `python -m harness.score --predictions FILE --references FILE [--json]`.

Predictions: a csv or tsv file with a column of outputs (and of MRs, where the references have one), or plain text with
one output a line. References: a csv or tsv file with the columns `mr,ref`, one reference a line, grouped by MR in the
order of first appearance; or plain text with one reference a line and a blank line between groups.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from statistics import fmean

from harness.data.e2e import group, read_pairs
from harness.errors import UserError
from harness.metrics.bleu import corpus_bleu
from harness.metrics.rouge import KINDS, rouge
from harness.metrics.rouge import signature as rouge_signature

OUTPUT_COLUMNS = ("output", "prediction", "ref")
INPUT_COLUMNS = ("mr", "source")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_text(path: Path) -> str:
    """A text file as UTF-8. Raises UserError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def read_references(path: Path) -> tuple[list[str] | None, list[list[str]]]:
    """MRs, where the file has them, and groups of references."""
    if path.suffix in DELIMITERS:
        examples = group(read_pairs(path, DELIMITERS[path.suffix]))
        return [e.source for e in examples], [list(e.references) for e in examples]
    blocks = read_text(path).replace("\r\n", "\n").strip("\n").split("\n\n")
    groups = [[line for line in block.split("\n") if line.strip()] for block in blocks]
    if not all(groups) or not groups:
        raise UserError(f"{path}: has an empty group of references; separate groups with one blank line")
    return None, groups


def read_predictions(path: Path, sources: list[str] | None) -> list[str]:
    """Outputs in the order of the references: by MR where both files have MRs, else by position."""
    if path.suffix not in DELIMITERS:
        return read_text(path).splitlines()
    rows = list(csv.DictReader(io.StringIO(read_text(path)), delimiter=DELIMITERS[path.suffix]))
    columns = {name.lower(): name for name in (rows[0] if rows else {}) if name}
    output = next((columns[name] for name in OUTPUT_COLUMNS if name in columns), None)
    if output is None:
        raise UserError(f"{path}: needs a column {' or '.join(OUTPUT_COLUMNS)}, has {', '.join(columns) or 'none'}")
    texts = [row[output] or "" for row in rows]
    given = next((columns[name] for name in INPUT_COLUMNS if name in columns), None)
    if sources is None or given is None:
        return texts
    by_source = dict(zip((row[given] for row in rows), texts, strict=True))
    missing = [source for source in sources if source not in by_source]
    if missing:
        raise UserError(f"{path}: {len(missing)} MRs of the references have no output, the first is {missing[0]}")
    return [by_source[source] for source in sources]


def scores(predictions: list[str], references: list[list[str]]) -> dict[str, tuple[float, str]]:
    """By metric: value and signature. Raises UserError where the counts differ."""
    try:
        bleu = corpus_bleu(predictions, references)
    except ValueError as error:
        raise UserError(f"{error}; each group of references needs one prediction") from None
    ranks = rouge(predictions, references)
    found = {"bleu": (bleu.score, bleu.signature)}
    return found | {kind: (fmean(row[kind] for row in ranks), rouge_signature()) for kind in KINDS}


def main() -> None:
    """Print the scores, 0 to 1 as the official scorer prints them; end with 2 where the files are not right."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictions", required=True, type=Path, metavar="FILE")
    parser.add_argument("--references", required=True, type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print JSON with full precision and signatures")
    options = parser.parse_args()
    try:
        sources, references = read_references(options.references)
        found = scores(read_predictions(options.predictions, sources), references)
    except UserError as error:
        print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        sys.exit(2)
    if options.json:
        content = {name: {"score": value / 100, "signature": text} for name, (value, text) in found.items()}
        print(json.dumps({"items": len(references), "scores": content}, indent=1))
        return
    for name, (value, text) in found.items():
        print(f"{name:8} {value / 100:.4f}  {text}")


if __name__ == "__main__":
    main()

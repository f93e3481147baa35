"""A table as data, and its forms: text for the terminal, CSV for other tools. report/page.html shows the same data."""

import csv
import io
import textwrap
from collections import namedtuple

# format: str.format pattern of a cell; csv_only: too wide for the eye.
Column = namedtuple("Column", "name format csv_only")
# rows: lists of values, None where empty; footnotes: sentences; commands: [(what is empty, command that fills it)].
Table = namedtuple("Table", "name title subtitle columns rows footnotes commands")
EMPTY = "-"
NOTE_WIDTH = 120  # characters


def column(name, format="{}", csv_only=False):
    return Column(name, format, csv_only)


def cell(column, value):
    """A value as people see it."""
    text = EMPTY if value is None else column.format.format(value)
    return "0.00" if text in ("-0.00", "+0.00") else text


def is_text(table, place):
    """Whether a column holds words, which stand on the left, or figures, which stand on the right."""
    return any(isinstance(row[place], str) for row in table.rows)


def shown(table):
    """The places of the columns that people see."""
    return [i for i, column in enumerate(table.columns) if not column.csv_only]


def to_text(table):
    """The table for a terminal: title, columns, footnotes, and the commands that fill what is empty."""
    places = shown(table)
    lines = [[table.columns[i].name for i in places]]
    lines += [[cell(table.columns[i], row[i]) for i in places] for row in table.rows]
    widths = [max(map(len, texts)) for texts in zip(*lines)]
    left = [is_text(table, i) for i in places]
    laid = ["  ".join(t.ljust(w) if l else t.rjust(w) for t, w, l in zip(line, widths, left)).rstrip() for line in lines]
    parts = [table.title, table.subtitle, "", laid[0], "-" * max(map(len, laid))] + laid[1:]
    parts += [""] + [
        textwrap.fill("%c) %s" % (ord("a") + i, note), NOTE_WIDTH, subsequent_indent="   ", break_on_hyphens=False) for i, note in enumerate(table.footnotes)
    ]
    if table.commands:
        parts += ["", "Empty cells (%s) are filled by:" % EMPTY]
        width = max(len(what) for what, _ in table.commands)
        parts += ["  %s   %s" % (what.ljust(width), command) for what, command in table.commands]
    return "\n".join(parts)


def to_csv(table):
    """The table as CSV text, all columns, full precision, empty cells empty; the last column says what all was made from."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns] + ["made from"])
    writer.writerows(["" if value is None else value for value in row] + [table.subtitle] for row in table.rows)
    return out.getvalue()

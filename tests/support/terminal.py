"""A command on a pseudo terminal: what its user types, and what stands on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

CTRL_C = b"\x03"


def on_terminal(words: list[str], columns: int, cwd: Path, ctrl_c: str | None = None) -> tuple[str, int, str]:
    """What a command writes to a terminal of so many columns, its exit code, and what it had written when Ctrl-C was
    pressed: as soon as that matches the pattern `ctrl_c`. Of this checkout it knows only what its folder tells."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    gone = {"COLUMNS", "LINES", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in gone} | {"TERM": "xterm-256color"}
    # Its session's own terminal, so that Ctrl-C reaches all of its processes, as it does at a desk.
    command = ["setsid", "--ctty", *words]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment)
    os.close(slave)
    written, pressed = b"", b""
    while more := _read(master):
        written += more
        if ctrl_c and not pressed and re.search(ctrl_c.encode(), written):
            pressed = written
            os.write(master, CTRL_C)
    os.close(master)
    return written.decode(), process.wait(), pressed.decode()


def _read(master: int) -> bytes:
    """The next bytes; none when nobody has the terminal open any more."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def screen(written: str, columns: int) -> list[str]:
    """The lines that stand on a terminal when this has been written to it.

    Of the sequences that move the cursor it knows the few that rich's live view uses, so that no emulator need be
    installed for one test. Raises AssertionError for any other, and for a line that is wider than the terminal.
    """
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+|\x1b", written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif part[0] != "\x1b":
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
            assert column <= columns, f"{column} columns: {lines[row]}"
        else:
            assert part in ("\x1b[?25l", "\x1b[?25h"), f"an escape sequence: {part!r}"
    return [line.rstrip() for line in lines]

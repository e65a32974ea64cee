"""Java programs that scorers are made of: run to their end, or killed and reported."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence

from harness.errors import UserError

FAMILIES = ("cider", "meteor", "rouge_l")
"""The families of scores that Java has a part in."""


class JavaFailed(RuntimeError):
    """Java is missing, crashed or did not end; the message says which in one line."""


def seconds_allowed() -> float:
    """How long one Java program may take: `$HARNESS_JAVA_TIMEOUT` seconds, or 600."""
    text = os.environ.get("HARNESS_JAVA_TIMEOUT") or "600"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UserError(f"HARNESS_JAVA_TIMEOUT={text}: not a number of seconds above 0")
    return seconds


def java_found() -> bool:
    """There is a Java to run."""
    return shutil.which("java") is not None


def run_java(arguments: Sequence[str], text: str) -> str:
    """What `java arguments` prints when `text` is its input, both in UTF-8. Raises JavaFailed."""
    if not java_found():
        raise JavaFailed("there is no java on the PATH; install a Java runtime, such as openjdk-17-jre-headless")
    # Neither the encoding nor what is the lower case of I may depend on the user's locale.
    command = ["java", "-Dfile.encoding=UTF-8", "-Duser.language=en", *arguments]
    pipe, allowed = subprocess.PIPE, seconds_allowed()
    # In a session of its own, so that all of it can be killed: `java` can be a script that starts the real one.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            out, err = process.communicate(text.encode(errors="replace"), timeout=allowed)
        except subprocess.TimeoutExpired:
            limit = f"{allowed:g} s; HARNESS_JAVA_TIMEOUT=SECONDS allows more"
            raise JavaFailed(f"java was killed: it had not ended after {limit}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = err.decode(errors="replace").strip().splitlines()
        raise JavaFailed(f"java ended with {process.returncode}: {lines[0].strip() if lines else 'it said nothing'}")
    return out.decode(errors="replace")

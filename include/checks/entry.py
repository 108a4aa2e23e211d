"""Run a Python function as a check: `python -P -m include.checks.entry PACKAGE.MODULE:FUNCTION ARGUMENTS…`.

The function is called as FUNCTION(document, *arguments) and returns its verdict as a dict; what it prints
goes to stderr. docs/user-checks.md has the contract.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main(entry: str, arguments: list[str]) -> int:
    """Call the function with the document on stdin, and write what it returns; 1 if that is no dict."""
    answers = os.dup(1)
    os.dup2(2, 1)  # a print, even one of a library in C, must not get into the answer
    sys.path.append(os.getcwd())  # noqa: PTH109
    module, _, function = entry.partition(":")
    document = json.loads(sys.stdin.buffer.read())
    verdict = getattr(importlib.import_module(module), function)(document, *arguments)
    if not isinstance(verdict, dict):
        sys.stderr.write(f"{entry} returned a {type(verdict).__name__}, not a dict\n")
        return 1
    with open(answers, "wb") as stream:  # noqa: PTH123  pathlib opens no descriptors
        stream.write(json.dumps(verdict).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

"""`python -m embedded.jobsub submit|q|rm|hold|release …`: what the commands in embedded/bin run."""

from __future__ import annotations

import os
import sys

from embedded.jobsub import control, submit
from embedded.jobsub.errors import JobsubError


def main() -> int:
    """Run one command; what it refuses is one line and exit code 1."""
    action, arguments = sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]
    try:
        if action == "submit":
            return submit.main(arguments, os.environ)
        if action in control.COMMANDS:
            return control.main(action, arguments, os.environ)
    except JobsubError as error:
        sys.stderr.write(f"jobsub_{action}: {error}\n")
        return 1
    sys.stderr.write(
        f"python -m embedded.jobsub: {action!r} is none of submit, {', '.join(control.COMMANDS)}\n"
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())

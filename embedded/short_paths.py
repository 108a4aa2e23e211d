"""Paths that HTCondor can take: no spaces, not too long."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from include.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its configuration splits at spaces and expands $ and %, and a Unix socket has 108 bytes for its path.
_PLAIN = re.compile(r"/[A-Za-z0-9_./+-]{0,60}")


def short_path(path: Path, *, temp: Path | None = None) -> Path:
    """Return `path`, or a symlink to it without spaces and short, in a folder of this user alone."""
    real = path.resolve()
    if _PLAIN.fullmatch(str(real)):
        return real
    link = _own_folder(_temp_folder(temp)) / hashlib.sha256(os.fsencode(real)).hexdigest()[:12]
    if not (link.is_symlink() and link.readlink() == real):
        new = link.with_name(f"{link.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        new.symlink_to(real)
        new.replace(link)
    return link


def _temp_folder(temp: Path | None) -> Path:
    wanted = (temp or Path(tempfile.gettempdir())).resolve()
    return wanted if _PLAIN.fullmatch(str(wanted)) and len(str(wanted)) < 30 else Path("/tmp")  # noqa: S108


def _own_folder(temp: Path) -> Path:
    """Make or take the folder for links; others can write to `temp`, so it must be ours alone."""
    folder = temp / f"prodsys-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise PoolError(f"{folder} cannot be made for HTCondor's short paths: {error.strerror}") from error
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise PoolError(
            f"{folder} is not a folder of user {os.geteuid()} alone: links in it cannot be trusted, remove it"
        )
    return folder


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on the file `path`; it goes with the process, however that ends.

    Gives the lock's descriptor: a child that it is passed on to keeps the lock until it has ended as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()

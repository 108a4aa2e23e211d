"""Storage behind one interface; the posix one is here."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol

from include.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageEntry:
    """One file or folder; a link is described itself, not what it points to."""

    path: str
    size: int
    """Bytes."""
    mtime: float
    """Epoch seconds."""
    is_file: bool
    is_folder: bool


class Storage(Protocol):
    """An area of files; every method raises StorageError where the storage gives no proper answer."""

    def stat(self, path: str) -> StorageEntry | None:
        """Return what is at `path`; None if certainly nothing."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""

    def entries(self, folder: str) -> tuple[StorageEntry, ...]:
        """Return what is in a folder, by name."""

    def remove(self, path: str, *, area: str) -> bool:
        """Remove one file below `area`; False if it was gone already. Nothing else can be removed."""

    def free_bytes(self, folder: str) -> int:
        """Return the bytes that are free for us where `folder` is."""


class PosixStorage:
    """A mounted file system."""

    def stat(self, path: str) -> StorageEntry | None:
        """Return what is at `path`; None if certainly nothing."""
        try:
            return _entry(path, os.lstat(path))
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise _trouble("look at", path, error) from error

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        try:
            return Path(path).open("rb")
        except OSError as error:
            raise _trouble("open", path, error) from error

    def entries(self, folder: str) -> tuple[StorageEntry, ...]:
        """Return what is in a folder, by name; what vanishes meanwhile is left out."""
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found.append(_entry(entry.path, entry.stat(follow_symlinks=False)))
        except OSError as error:
            raise _trouble("list", folder, error) from error
        return tuple(sorted(found, key=lambda entry: entry.path))

    def remove(self, path: str, *, area: str) -> bool:
        """Remove one file below `area`; False if it was gone already.

        StorageError for anything that is not a regular file reached from `area` without passing a link: the
        folders are opened one by one, so that nobody can swap one for a link meanwhile.
        """
        *folders, name = _below(path, area)
        try:
            with _opened(area, folders) as folder:
                if folder is None:
                    return False
                if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    msg = f"will not remove {path}: it is not a regular file"
                    raise StorageError(msg)
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _trouble("remove", path, error) from error
        return True

    def free_bytes(self, folder: str) -> int:
        """Return the bytes that are free for us where `folder` is."""
        try:
            status = os.statvfs(folder)
        except OSError as error:
            raise _trouble("find the free space of", folder, error) from error
        return status.f_bavail * status.f_frsize


def _entry(path: str, status: os.stat_result) -> StorageEntry:
    return StorageEntry(
        path=path,
        size=status.st_size,
        mtime=status.st_mtime,
        is_file=stat.S_ISREG(status.st_mode),
        is_folder=stat.S_ISDIR(status.st_mode),
    )


def _trouble(act: str, path: str, error: OSError) -> StorageError:
    return StorageError(f"cannot {act} {path}: {error.strerror or error}; check the mount and its rights")


def is_below(path: str, area: str) -> bool:
    """Whether `path`, as written, is below `area`."""
    try:
        return bool(_below(path, area))
    except StorageError:
        return False


def _below(path: str, area: str) -> tuple[str, ...]:
    """Return the parts of `path` below `area`; StorageError if it is not plainly below it."""
    base, wanted = PurePosixPath(area), PurePosixPath(path)
    parts = wanted.parts[len(base.parts) :]
    plain = (
        base.is_absolute() and len(base.parts) > 1 and ".." not in base.parts + parts and "\x00" not in path
    )
    if not plain or not parts or wanted.parts[: len(base.parts)] != base.parts:
        msg = f"will not touch {path!r}: it is not below the area {area!r}"
        raise StorageError(msg)
    return parts


@contextlib.contextmanager
def _opened(area: str, folders: list[str]) -> Iterator[int | None]:
    """Open `area`, then each folder below it without following links; None if one of those is gone."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:

        def enter(name: str, flags: int, parent: int | None = None) -> int:
            handle = os.open(name, flags, dir_fd=parent)
            stack.callback(os.close, handle)
            return handle

        try:
            handle = enter(area, flags)
        except FileNotFoundError as error:
            # The whole area gone means that it is not mounted, not that its files were removed.
            msg = f"the area {area} is not there: is it mounted?"
            raise StorageError(msg) from error
        for name in folders:
            try:
                handle = enter(name, flags | os.O_NOFOLLOW, handle)
            except FileNotFoundError:
                yield None
                return
        yield handle

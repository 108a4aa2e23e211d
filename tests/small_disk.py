"""A disk that is full, or may not be written: a small tmpfs that only one child process sees."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_RDONLY, MS_REC, MS_PRIVATE = 1, 0x4000, 0x40000
LIMIT_S = 60


def on_small_disk(folder: Path, act: Callable[[], Any], *, size_kb: int = 64, read_only: bool = False) -> Any:
    """Do `act` in a child in which `folder` is a disk of `size_kb`, empty at first; return what it returns.

    What it raises is raised here. The disk vanishes with the child.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_run, args=(there, folder, act, size_kb, read_only))
    child.start()
    there.close()
    try:
        if not here.poll(LIMIT_S):
            raise TimeoutError("the child on the small disk did not end")
        error, value = here.recv()
    finally:
        child.kill()
        child.join()
    if error is not None:
        raise error
    return value


def _run(answers: Connection, folder: Path, act: Callable[[], Any], size_kb: int, read_only: bool) -> None:
    try:
        _mount(folder, size_kb, read_only=read_only)
        answers.send((None, act()))
    except BaseException as error:  # noqa: BLE001  it is raised in the parent
        answers.send((error, None))


def _mount(folder: Path, size_kb: int, *, read_only: bool) -> None:
    """Mount in a namespace of our own; who is not root gets one in which it is."""
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWNS | (0 if uid == 0 else CLONE_NEWUSER))
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    options = f"size={size_kb}k".encode()
    _call("mount", b"none", os.fsencode(folder), b"tmpfs", MS_RDONLY if read_only else 0, options)


def _call(name: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")

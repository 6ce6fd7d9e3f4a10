"""A lock that admits one process at a time to a folder."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

#: Error codes of file systems without locks: Lustre mounted without `-o flock`, some NFS and FUSE file systems.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
#: Flags of `os.open`: create the file if necessary, do not follow links, and do not wait for a named pipe.
_FLAGS = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Lock:
    """A file lock, held until `close`. The system releases the lock when the process ends for any reason.

    Attributes:
        missing: the system's error message if the file system does not support locks; else None. Without locks, two processes
            may use the folder at once.

    Raises:
        FileExistsError: another process holds the lock, or there is a file at `path` that is not a lock.
        OSError: the file cannot be opened or locked.
    """

    def __init__(self, path: Path) -> None:
        self.missing: str | None = None
        self._path = path
        while True:
            self._file = self._open()
            try:
                self._take()
                # A process that closes its lock may have unlinked the file in the meantime.
                if self._is_there():
                    os.ftruncate(self._file, 0)
                    os.lseek(self._file, 0, os.SEEK_SET)
                    os.write(self._file, _own())
                    return
            except OSError as error:
                os.close(self._file)
                if error.filename is None and error.errno is not None:
                    raise OSError(error.errno, error.strerror, os.fspath(path)) from None
                raise
            os.close(self._file)

    def _open(self) -> int:
        try:
            return os.open(self._path, _FLAGS, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._foreign() from None
            raise

    def _take(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise self._foreign()
        try:
            _lock(self._file)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                self.missing = error.strerror
            elif error.errno in (errno.EAGAIN, errno.EACCES):
                holder = self._read().decode(errors="replace") or "unknown"
                raise FileExistsError(
                    f"{self._path.parent}: process {holder} is at this run; choose another folder, or wait until it ends"
                ) from None
            else:
                raise
        text = self._read()
        if text and not text.isdigit():
            raise self._foreign()

    def _read(self) -> bytes:
        os.lseek(self._file, 0, os.SEEK_SET)
        return os.read(self._file, 32)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.lstat(self._path))
        except FileNotFoundError:
            return False

    def _foreign(self) -> FileExistsError:
        return FileExistsError(
            f"{self._path}: has the name of a run's lock, but is none; choose another folder, or move it"
        )

    def close(self) -> None:
        """Release the lock, and delete the lock file if that file still belongs to this process."""
        # Without locks the file may belong to another process by now. A leftover file does no harm.
        with suppress(OSError):
            if self._is_there() and self._read() == _own():
                self._path.unlink()
        os.close(self._file)


def _own() -> bytes:
    return str(os.getpid()).encode()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

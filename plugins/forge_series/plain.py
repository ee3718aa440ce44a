"""Find the CSV files that can be read together without a second look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    import forge

_LONGEST_HEADER = 4096  # bytes
_ASCII = 127


def plain_files(files: tuple[forge.File, ...], separator: str) -> tuple[bytes, list[forge.File]]:
    """Return the first line of the first plain file, and all plain files that begin with it.

    A file is plain if it is UTF-8, its lines end in LF, nothing in it is quoted, and it has as many separators as lines
    like its header would have: a value written as ``1,234`` would shift the cells behind it, unnoticed.
    """
    import numpy as np

    common = b""
    plain: list[forge.File] = []
    buffer = np.empty(0, dtype=np.uint8)
    for file in files:
        with file.path.open("rb") as opened:
            if (size := opened.seek(0, 2)) > len(buffer):
                buffer = np.empty(2 * size, dtype=np.uint8)
            opened.seek(0)
            size = opened.readinto(buffer.data)
        first = _plain_header(buffer[:size], separator)
        common = common or first
        if first and first == common:
            plain.append(file)
    return common, plain


def _plain_header(data: npt.NDArray[np.uint8], separator: str) -> bytes:
    """Return the first line of *data*, empty where the file is not plain."""
    import numpy as np

    # the bytes are counted by numpy: Python's own `count` takes as long as parsing them
    first = data[:_LONGEST_HEADER].tobytes().partition(b"\n")[0]
    ends, cells = (int(np.count_nonzero(data == ord(mark))) for mark in ("\n", separator))
    if not ends or not first.isascii() or b"\r" in first[:-1] or (data[len(first) :] == ord('"')).any():
        return b""
    if data.max() > _ASCII:
        try:
            data.tobytes().decode()
        except UnicodeDecodeError:
            return b""
    lines = ends + int(data[-1] != ord("\n"))
    return first if cells == lines * first.count(separator.encode()) else b""

"""Messages between processes: pickled, each with its length and the number of its run before it."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

HEADER = struct.Struct("!QQ")  # the length of the body, and the number of the run; 0 for the server itself
CHUNK = 1 << 16


def frame(number: int, body: bytes) -> bytes:
    """A frame with an encoded message."""
    return HEADER.pack(len(body), number) + body


def encoded(message: Any) -> bytes:
    """A message as bytes."""
    return pickle.dumps(message)


def decoded(body: bytes) -> Any:
    """The message of a frame."""
    return pickle.loads(body)


def write(descriptor: int, data: bytes) -> None:
    """Write all bytes to a descriptor. OSError if the reader is gone."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read(stream: BinaryIO) -> tuple[int, bytes] | None:
    """Read one frame from a stream: the run's number and the body; None at its end."""
    header = _exactly(stream, HEADER.size)
    if header is None:
        return None
    length, number = HEADER.unpack(header)
    body = _exactly(stream, length)
    return None if body is None else (number, body)


def _exactly(stream: BinaryIO, size: int) -> bytes | None:
    """So many bytes of a stream, whose reads may return fewer, as those of a pipe do; None if it ends before."""
    data = bytearray()
    while len(data) < size:
        piece = stream.read(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


class Frames:
    """Frames that arrive in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the frames that this piece completes."""
        self._data += data
        while len(self._data) >= HEADER.size:
            length, number = HEADER.unpack_from(self._data)
            end = HEADER.size + length
            if len(self._data) < end:
                return
            yield number, bytes(self._data[HEADER.size : end])
            del self._data[:end]

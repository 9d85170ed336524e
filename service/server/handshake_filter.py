"""Closes the window for new connections without resetting any: a filter on a listening socket (Linux).

When the last process closes a listening socket, the kernel resets the connections that wait in its queue, and those
whose handshake ends later. So they have to be accepted first, while no new ones may begin. Neither `shutdown` nor a
backlog of 0 does that: the one resets the queue, the other lets handshakes end in nothing. The filter drops the
segments that open a connection, so that the client repeats them, by default a second later, and gets `connection
refused` once the socket is closed. All other segments pass, with them the last one of a handshake that has begun.
"""

import ctypes
import logging
import socket
import struct
import sys

log = logging.getLogger(__name__)

SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; Python's socket module does not have it."""
TCP_FLAGS = 13
"""Offset of the flags in a TCP header (RFC 9293, section 3.1), where the filter's view of a segment begins."""
SYN = 0x02
LOAD_BYTE, JUMP_IF_SET, RETURN = 0x30, 0x45, 0x06
"""Classic BPF, linux/bpf_common.h: BPF_LD|BPF_B|BPF_ABS, BPF_JMP|BPF_JSET|BPF_K, BPF_RET|BPF_K."""
WHOLE_SEGMENT, NOTHING = 0xFFFFFFFF, 0
PROGRAM = (
    (LOAD_BYTE, 0, 0, TCP_FLAGS),
    (JUMP_IF_SET, 0, 1, SYN),
    (RETURN, 0, 0, NOTHING),
    (RETURN, 0, 0, WHOLE_SEGMENT),
)
"""struct sock_filter: code, instructions to skip if true and if false, operand."""


def refuse_handshakes(listener: socket.socket) -> None:
    """Let no new handshake begin at a listening TCP socket, for good and for all processes that share the socket.

    Where the system has no such filter, this does nothing: connections of the last moment are then reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in PROGRAM))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(PROGRAM), ctypes.addressof(program))
        )
    except OSError as error:
        log.warning("cannot filter new connections at the stop: %s", error)

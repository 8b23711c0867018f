"""Who is at the other end of the unix socket (SO_PEERCRED, unix(7))."""

import asyncio
import pwd
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

LOCAL_ADMINISTRATOR = "local administrator"
_PREFIX = "uid:"
_CREDENTIALS = struct.Struct("3i")


class UnixProtocol(H11Protocol):
    """HTTP that tells the application the user id of the peer, as the host of `scope["client"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family == socket.AF_UNIX:
            data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _gid = _CREDENTIALS.unpack(data)
            self.client = (f"{_PREFIX}{uid}", pid)


def user_of(client: Any) -> str:
    """Name of the user behind a connection."""
    host = client[0] if client else ""
    if not host.startswith(_PREFIX):
        return LOCAL_ADMINISTRATOR
    uid = int(host.removeprefix(_PREFIX))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"{_PREFIX}{uid}"

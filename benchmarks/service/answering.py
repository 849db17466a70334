"""A provider that answers at once whatever it is asked: what it takes is the same with and without a proxy.

Run: python -m benchmarks.service.answering (prints its port)
"""

from __future__ import annotations

import asyncio
import json
import re

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_REPLY = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Done."}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
_EVENTS = [
    b'event: message_start\ndata: {"type": "message_start"}\n\n',
    *[b'event: content_block_delta\ndata: {"type": "content_block_delta"}\n\n'] * 8,
    b'event: message_stop\ndata: {"type": "message_stop"}\n\n',
]
PAUSE_SECONDS = 0.002


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = json.dumps(_REPLY).encode()
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            await reader.readexactly(int(found[1]) if found else 0)
            if b"x-stream:" not in head.lower():
                writer.write(whole)
                continue
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for event in _EVENTS:
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(PAUSE_SECONDS)
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=64 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())

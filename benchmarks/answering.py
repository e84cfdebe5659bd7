"""A stand-in of a served vision-language model, a process of its own: it answers after a while, and counts.

Started by `benchmarks.captioner`; it says its port, and at the end how many requests it held on average.
"""

import asyncio
import json
import random
import sys
import time

_CAPTION = "A red bus stands before a row of houses, while people with umbrellas cross the street behind it."


class Gauge:
    """How many requests are held, over the time from the first that came to the last that came."""

    def __init__(self) -> None:
        self.held = self.requests = 0
        self._area = self._area_then = 0.0
        self._began = self._last = self._came = time.monotonic()

    def change(self, by: int) -> None:
        """Count one request that came or went."""
        now = time.monotonic()
        self._area += self.held * (now - self._last)
        self._last = now
        self.held += by
        if by > 0:
            self.requests += 1
            self._began = self._began if self.requests > 1 else now
            self._came, self._area_then = now, self._area

    def told(self) -> dict[str, float]:
        """Return the numbers so far."""
        return {"requests": self.requests, "mean": self._area_then / max(1e-9, self._came - self._began)}


def serve(seconds: tuple[float, float]) -> None:
    """Answer completions after `seconds`, from the least to the longest, until stdin ends."""
    gauge, waits = Gauge(), random.Random(0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                lengths = [line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                data = json.dumps({"data": [{"id": "see"}]}).encode()
                if lines[0].startswith("POST"):
                    gauge.change(1)
                    await asyncio.sleep(waits.uniform(*seconds))
                    gauge.change(-1)
                    message = {"role": "assistant", "content": _CAPTION}
                    data = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        print(json.dumps(gauge.told()), flush=True)

    asyncio.run(main())


if __name__ == "__main__":
    serve((float(sys.argv[1]), float(sys.argv[2])))

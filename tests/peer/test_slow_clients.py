"""Clients that keep a server waiting: they cost places for a bounded time, and nobody else notices."""

import asyncio
import pathlib
import time

import requests

from bilin import Server

SLOW, IDLE = 200, 1_000
HEAD_TIMEOUT_S = 4
# How long one that is served at once may take on a machine with other work.
PROMPT_S = 1.0


async def drip(host, port, head):
    """Sends its head a byte a second; how long it was let."""
    reader, writer = await asyncio.open_connection(host, port)
    began = time.monotonic()
    try:
        for byte in head:
            writer.write(bytes([byte]))
            await writer.drain()
            # Whatever comes, comes because the server has had enough.
            try:
                if not await asyncio.wait_for(reader.read(1_000), 1.0):
                    break
            except TimeoutError:
                pass
    except ConnectionError:
        pass
    finally:
        writer.close()
    return time.monotonic() - began


async def silent(host, port):
    """Opens a connection and waits; how long it was let."""
    reader, writer = await asyncio.open_connection(host, port)
    began = time.monotonic()
    try:
        while await reader.read(1_000):
            pass
    except ConnectionError:
        pass
    writer.close()
    return time.monotonic() - began


def search(url, number):
    began = time.monotonic()
    answer = requests.post(f"{url}/v1/collections/points/search", json={"vector": [1, number, 0, 0]}, timeout=10)
    assert answer.status_code == 200 and answer.json()["results"], answer.text
    return time.monotonic() - began


async def besieged(url):
    """Times of ordinary searches while all the others hold their connections, and how long those were let."""
    host, port = url.removeprefix("http://").split(":")
    head = b"POST /v1/collections/points/search HTTP/1.1\r\nhost: localhost\r\nx-padding: " + b"y" * 60
    body = b"POST /v1/collections/points/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"
    clients = [asyncio.create_task(drip(host, port, head)) for _ in range(SLOW)]
    clients += [asyncio.create_task(silent(host, port)) for _ in range(IDLE)]
    # Its head is whole at once, its body never is.
    half = await asyncio.open_connection(host, port)
    half[1].write(body)
    times = []
    while not all(client.done() for client in clients):
        times.append(await asyncio.to_thread(search, url, len(times)))
        await asyncio.sleep(0.05)
        assert len(times) < 2_000, "the connections are never given back"
    told = await asyncio.wait_for(half[0].read(10_000), 30)
    half[1].close()
    return times, [client.result() for client in clients], told


def resident_mb(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def test_slowloris_and_a_thousand_idle_connections_keep_nobody_waiting_and_are_cut_off(tmp_path):
    environment = {"BILIN_HEAD_TIMEOUT": f"{HEAD_TIMEOUT_S}s", "BILIN_REQUEST_TIMEOUT_MS": "3000"}
    with Server(tmp_path / "data", environment=environment) as server:
        server.request("PUT", "/v1/collections/points", expect=201, json={"dim": 4})
        documents = [{"id": str(number), "vector": [1.0, number, 0.0, 0.0]} for number in range(20)]
        server.request("POST", "/v1/collections/points/documents", json={"documents": documents})
        before_mb = resident_mb(server)
        times, held, told = asyncio.run(besieged(server.url))
        times.sort()
        print(f"{len(times)} searches meanwhile, median {times[len(times) // 2] * 1e3:.1f} ms, longest {times[-1] * 1e3:.1f} ms; "
              f"connections were held {min(held):.1f} to {max(held):.1f} s; resident {before_mb:.0f} -> {resident_mb(server):.0f} MB")
        assert len(times) > 20 and times[-1] < PROMPT_S, times[-5:]
        assert max(held) < HEAD_TIMEOUT_S + 4, max(held)
        assert told.startswith(b"HTTP/1.1 408"), told
        assert resident_mb(server) < before_mb + 64
        assert search(server.url, 0) < PROMPT_S

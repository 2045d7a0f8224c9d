"""JSON lines over a socket."""

import socket

from headrace.runtime.pipe import Pipe


async def test_messages_arrive_whole_and_in_order_then_the_end() -> None:
    ours, theirs = socket.socketpair()
    one, other = await Pipe.open(ours), await Pipe.open(theirs)
    big = {"text": "é\n" * 700_000}
    for message in ({"n": 1}, big, {"n": 2}):
        one.send(message)
    assert [await other.receive(), await other.receive(), await other.receive()] == [{"n": 1}, big, {"n": 2}]
    await one.flush()
    one.close()
    assert await other.receive() is None
    other.send({"to": "nobody"})
    await other.flush()
    other.close()
    other.send({"to": "nobody"})
    for pipe in (one, other):
        await pipe.closed()


async def test_a_pipe_is_clear_until_something_waits_in_it() -> None:
    ours, theirs = socket.socketpair()
    one, other = await Pipe.open(ours), await Pipe.open(theirs)
    assert one.clear
    one.send({"text": "x" * 10_000_000})  # more than the sockets hold
    assert not one.clear
    await other.receive()
    await one.flush()
    assert one.clear
    one.close()
    assert not one.clear
    other.close()
    for pipe in (one, other):
        await pipe.closed()


async def test_a_peer_that_dies_in_the_middle_of_a_line_is_gone() -> None:
    ours, theirs = socket.socketpair()
    pipe = await Pipe.open(ours)
    theirs.sendall(b'{"half":')
    theirs.close()
    assert await pipe.receive() is None
    pipe.close()
    await pipe.closed()

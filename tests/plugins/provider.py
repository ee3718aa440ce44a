"""A provider on the loopback that speaks OpenAI's chat completions and batches, with planned faults.

usage: provider.py [--delay SECONDS] [--faults SHARE] [--stall SECONDS]

Prints its port. `GET /log` says how often each request body was answered in full (by sha256) and how many requests
came; an answer in full is what a provider would charge for. A fault is planned by the body and by how often it came,
at most twice for one body, so every run of rows ends complete.
"""

import argparse
import asyncio
import hashlib
import json
import random
import socket
import struct
import sys
from collections import Counter

GOOD = {"depression_level": 1, "anxiety_level": 2, "risk_flag": "none", "student_distress_score": 4}
ANSWERS = ("429", "429 after", "500", "reset", "stall", "half", "html")
WORDS = ("wrong schema", "cut", "chatty", "empty")
MOST_FAULTS = 2


def plan(digest, came, share, *, corrected):
    """Return the fault of a body that comes for the *came*-th time, or None; a *corrected* one says the right thing."""
    chance = random.Random(f"{digest} {came}")
    faults = ANSWERS if corrected else ANSWERS + WORDS
    return chance.choice(faults) if came < MOST_FAULTS and chance.random() < share else None


def is_corrected(body):
    return any(turn["role"] == "assistant" for turn in body["messages"])


def content(digest):
    """Return the good labels of one body, which differ from body to body."""
    chance = random.Random(digest)
    flags = ("none", "none", "none", "suicidal", "self_harm", "violence")
    levels = {"depression_level": chance.randrange(4), "anxiety_level": chance.randrange(4)}
    return {**levels, "risk_flag": chance.choice(flags), "student_distress_score": chance.randrange(10)}


def first_words(body):
    """Return the digest of what a row's labels depend on: the first request's messages, not the corrections."""
    messages = body["messages"]
    first = [turn for turn in messages if turn["role"] != "assistant"][: 2 if messages[0]["role"] == "system" else 1]
    return hashlib.sha256(json.dumps([body["model"], first]).encode()).hexdigest()


def completion(body, text):
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}
    kind = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
    return {**kind, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


class Provider:
    def __init__(self, delay, faults, stall):
        self.delay, self.faults, self.stall = delay, faults, stall
        self.came, self.answered, self.kinds = Counter(), Counter(), Counter()
        self.files, self.batches = {}, {}

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
                length = next((int(v) for n, _, v in lines if n.lower() == b"content-length"), 0)
                data = await reader.readexactly(length)
                if not await self.answer(writer, method, path, data):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer, method, path, data):
        if path == "/log":
            log = {"answered": dict(self.answered), "requests": self.came.total(), "faults": dict(self.kinds)}
            return await self.send(writer, 200, {**log, "batches": len(self.batches)})
        if path.endswith("/chat/completions"):
            return await self.chat(writer, data)
        return await self.send(writer, *self.batch(method, path.partition("/v1/")[2].partition("?")[0], data))

    async def chat(self, writer, data):
        digest = hashlib.sha256(data).hexdigest()
        body = json.loads(data)
        fault = plan(digest, self.came[digest], self.faults, corrected=is_corrected(body))
        self.came[digest] += 1
        self.kinds[fault or "none"] += 1
        await asyncio.sleep(self.delay)
        text = self.text(body, fault)
        if text is not None:
            sent = await self.send(writer, 200, completion(body, text))
            self.answered[digest] += 1
            return sent
        if fault in {"429", "429 after"}:
            after = {"retry-after": "0.02"} if fault == "429 after" else {}
            return await self.send(writer, 429, {"error": {"message": "slow down"}}, after)
        if fault == "500":
            return await self.send(writer, 500, {"error": {"message": "oops"}})
        if fault == "html":
            return await self.raw(writer, 200, b"<html>busy</html>")
        if fault == "half":
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"id": 1,')
            await writer.drain()
        elif fault == "stall":
            await asyncio.sleep(self.stall)
        else:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return False

    def text(self, body, fault):
        """Return what the model says, or None where the answer itself is at fault."""
        good = json.dumps(content(first_words(body)))
        said = {
            None: good,
            "chatty": f"Here you are:\n```json\n{good}\n```",
            "wrong schema": json.dumps({**GOOD, "risk_flag": "unknown"}),
            "cut": good[:-12],
            "empty": "",
        }
        return said.get(fault)

    def batch(self, method, path, data):
        if (method, path) == ("POST", "files"):
            name = f"file-{len(self.files)}"
            self.files[name] = data[data.index(b'{"custom_id"') : data.rindex(b"\r\n--")].rstrip(b"\r\n-")
            return 200, {"id": name, "object": "file"}
        if (method, path) == ("POST", "batches"):
            name, asked = f"batch-{len(self.batches)}", json.loads(data)
            self.batches[name] = {"id": name, "looks": 0, **asked, "status": "validating"}
            return 200, self.batches[name]
        if (method, path) == ("GET", "batches"):
            return 200, {"object": "list", "data": list(self.batches.values())[::-1], "has_more": False}
        if path.startswith("batches/"):
            batch = self.batches[path.removeprefix("batches/")]
            batch["looks"] += 1
            if batch["looks"] > 2 and batch["status"] != "completed":
                self.finish(batch)
            return 200, batch
        if path.startswith("files/"):
            return 200, self.files[path.split("/")[1]]
        return 404, {"error": {"message": f"no {path}"}}

    def finish(self, batch):
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            request = json.loads(line)
            data = json.dumps(request["body"], sort_keys=True).encode()
            digest = hashlib.sha256(data).hexdigest()
            fault = plan(digest, self.came[digest], self.faults, corrected=is_corrected(request["body"]))
            self.came[digest] += 1
            text = self.text(request["body"], fault)
            if text is None:
                error = {"status_code": 500, "body": {"error": {"message": "oops"}}}
                bad.append({"custom_id": request["custom_id"], "response": error, "error": None})
            else:
                self.answered[digest] += 1
                answer = {"status_code": 200, "body": completion(request["body"], text)}
                good.append({"custom_id": request["custom_id"], "response": answer, "error": None})
        for field, rows in (("output_file_id", good), ("error_file_id", bad)):
            batch[field] = None
            if rows:
                batch[field] = f"file-{len(self.files)}"
                self.files[batch[field]] = "\n".join(json.dumps(row) for row in rows).encode()
        batch["status"] = "completed"

    async def send(self, writer, status, answer, headers=()):
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return await self.raw(writer, status, data, headers)

    async def raw(self, writer, status, data, headers=()):
        lines = [f"HTTP/1.1 {status} -", "content-type: application/json", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in dict(headers).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        await writer.drain()
        return True


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--stall", type=float, default=1.0)
    arguments = parser.parse_args()
    provider = Provider(arguments.delay, arguments.faults, arguments.stall)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

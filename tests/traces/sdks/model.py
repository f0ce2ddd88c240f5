"""A model server that tells the story of `story.py`: real HTTP on loopback, OpenAI's and Anthropic's formats, standard library alone.

What it answers follows from what it is asked, so that any framework may call in any order: where tools are offered and none has
answered yet it asks for `look_up`; a question that holds "fail" gets 429; all else gets the same sentence. Its usage figures are
those by which a mapping is proven: OpenAI counts cached tokens in the prompt and reasoning in the completion, Anthropic counts
tokens read from and written to its cache beside `input_tokens`.
"""

from __future__ import annotations

import base64
import itertools
import json
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ANSWER = "Order 7 was shipped on Monday."
CALL = {"id": "call_7", "name": "look_up", "arguments": {"order": 7}}
OPENAI = "gpt-5-mini-2025-08-07"  # what gpt-5-mini says it is; a claude is called what it was asked as
CHAT_USAGE = {
    "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0},
}  # fmt: skip
RESPONSES_USAGE = {
    "input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0},
    "output_tokens": 50, "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 1050,
}  # fmt: skip
ANTHROPIC_USAGE = {"input_tokens": 100, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 50, "output_tokens": 30}
IDS = itertools.count(1)  # of answers: each has its own, by which those who tell of one call can be seen to
Event = tuple[str, dict[str, Any]]  # of a stream: its name ("" where the format has none) and its data


def wants_tool(body: dict[str, Any]) -> bool:
    said = json.dumps(body.get("messages") or body.get("input"))
    return bool(body.get("tools")) and not any(sign in said for sign in ('"role": "tool"', "function_call_output", "tool_result"))


def chat(body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": ANSWER, "refusal": None}
    if wants_tool(body):
        function = {"name": CALL["name"], "arguments": json.dumps(CALL["arguments"])}
        message |= {"content": None, "tool_calls": [{"id": CALL["id"], "type": "function", "function": function}]}
    reason = "tool_calls" if "tool_calls" in message else "stop"
    return {
        "id": f"chatcmpl-{next(IDS)}", "object": "chat.completion", "created": 1790000000, "model": OPENAI, "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}], "usage": CHAT_USAGE,
    }  # fmt: skip


def chat_stream(body: dict[str, Any]) -> list[Event]:
    whole = chat(body)
    base = {k: v for k, v in whole.items() if k not in ("choices", "usage")} | {"object": "chat.completion.chunk"}
    message = whole["choices"][0]["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if message["content"]:
        deltas += [{"content": piece} for piece in (ANSWER[:10], ANSWER[10:])]
    for i, call in enumerate(message.get("tool_calls", [])):
        deltas.append({"tool_calls": [{**call, "index": i}]})
    steps = [(delta, None) for delta in deltas] + [({}, whole["choices"][0]["finish_reason"])]
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in steps]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**base, "choices": [], "usage": CHAT_USAGE})
    return [("", chunk) for chunk in chunks]


def responses(body: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}],
    }  # fmt: skip
    if wants_tool(body):
        arguments = json.dumps(CALL["arguments"])
        item = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": CALL["id"],
            "name": CALL["name"],
            "arguments": arguments,
            "status": "completed",
        }
    return {
        "id": f"resp_{next(IDS)}", "object": "response", "created_at": 1790000000, "completed_at": 1790000001, "status": "completed",
        "model": OPENAI,
        "output": [item], "error": None, "incomplete_details": None, "instructions": body.get("instructions"), "metadata": {},
        "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": body.get("tools", []),
        "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "text": {"format": {"type": "text"}},
        "truncation": "disabled", "usage": RESPONSES_USAGE, "user": None, "max_output_tokens": None, "store": True,
    }  # fmt: skip


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vector: Any = [0.5, -0.25, 0.125]
    if body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
    rows = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(texts))]
    return {"object": "list", "model": body["model"], "data": rows, "usage": {"prompt_tokens": 8, "total_tokens": 8}}


def messages(body: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "text", "text": ANSWER}
    if wants_tool(body):
        content = {"type": "tool_use", "id": "toolu_7", "name": CALL["name"], "input": CALL["arguments"]}
    return {
        "id": f"msg_{next(IDS)}", "type": "message", "role": "assistant", "model": body["model"], "content": [content],
        "stop_reason": "tool_use" if content["type"] == "tool_use" else "end_turn", "stop_sequence": None, "usage": ANTHROPIC_USAGE,
    }  # fmt: skip


def messages_stream(body: dict[str, Any]) -> list[Event]:
    whole = messages({**body, "tools": []})
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": ANTHROPIC_USAGE["output_tokens"]}},
        {"type": "message_stop"},
    ]
    return [(event["type"], event) for event in events]


WHOLE = {"/chat/completions": chat, "/responses": responses, "/embeddings": embeddings, "/messages": messages}
STREAMED = {"/chat/completions": chat_stream, "/messages": messages_stream}
TOO_MANY = {"error": {"message": "Rate limit reached for gpt-5-mini", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = "/" + self.path.partition("?")[0].partition("/v1/")[2]
        if '"fail' in json.dumps(body).lower():
            self._send(429, "application/json", json.dumps(TOO_MANY).encode())
        elif body.get("stream"):
            events = [(f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n" for name, data in STREAMED[path](body)]
            done = "data: [DONE]\n\n" if path == "/chat/completions" else ""
            self._send(200, "text/event-stream", ("".join(events) + done).encode())
        else:
            self._send(200, "application/json", json.dumps(WHOLE[path](body)).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve() -> ThreadingHTTPServer:
    """On an ephemeral port, in a thread; its address is `server_address`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    running = serve()
    print(f"http://127.0.0.1:{running.server_address[1]}", flush=True)
    Thread(target=running.serve_forever).join()

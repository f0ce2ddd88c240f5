"""The conformance suite of streams, against a running gateway or against ours and LiteLLM's proxy in the same run.

    python -m bench.streams [--why] [--only WORD] [--alone]
    python -m bench.streams --url http://… --key … --openai NAME --anthropic NAME --listen PORT

The first starts both. The second tries any gateway: make NAME a model of OpenAI's dialect at `http://127.0.0.1:PORT/v1`, and the other
one a model of Anthropic's at `http://127.0.0.1:PORT`: there the suite stands in the provider's place. Only HTTP is spoken. Each row is a
transcript (`tests/doors/gateway/streams/`) asked for by a client of one dialect: in how many of the ways to send it the client reads what
it should; and in how many it is in form, which is: where nothing is translated, the bytes are the provider's own but for the model's name,
and where it is, the events are those of the documentation, in their order. Below it the same by dialects.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from tests.doors.gateway.conformance import CLIENTS, FORM, OTHER, Gateway, Player, cases, checks, leave, run
from tests.doors.server import Server

from bench.gateway import free_port, wait_for
from bench.peers import litellm
from windlass.store.home import Home

MODELS = {"openai": "openai/gpt-5-mini", "anthropic": "anthropic/claude-sonnet-4-5"}
Found = dict[str, dict[str, list[str]]]  # row → check → what is wrong


async def tried(gateway: Gateway, player: Player, only: str) -> Found:
    """All checks against one gateway."""
    found: Found = {}
    async with aiohttp.ClientSession() as session:
        for check in checks(cases()):
            if only in check.name:
                row = found.setdefault(f"{check.case.name} → {check.client}", {})
                row[check.variant or "at once"] = await _held(run(check, gateway, player, session))
        for dialect in ("openai", "anthropic"):
            for client in (dialect, *CLIENTS[dialect]):
                if only in (name := f"the client leaves: {dialect} → {client}"):
                    found[name] = {"": await _held(leave(client, dialect, gateway, player, session))}
    return found


async def _held(asking: Any) -> list[str]:
    """What is wrong; also where a gateway sends what nobody can read."""
    try:
        return list(await asking)
    except Exception as e:
        return [f"what came cannot be read: {e!r}"]


async def measured(gateways: dict[str, Gateway], listen: int, only: str) -> dict[str, Found]:
    async with Player(listen) as player:
        return {name: await tried(gateway, player, only) for name, gateway in gateways.items()}


def ours(folder: Path, upstream: int, ends: contextlib.ExitStack) -> Gateway:
    """A server as `windlass up` starts it."""
    home = Home(folder / "windlass")
    url = f"http://127.0.0.1:{upstream}/v1"
    (home.path / "providers.toml").write_text(f'[anthropic]\nbase_url = "{url}"\nbase_env = ""\n')
    server = Server(home.path, env={"OPENAI_API_KEY": "sk-bench", "OPENAI_BASE_URL": url, "ANTHROPIC_API_KEY": "sk-bench"})
    ends.callback(server.stop)
    with server.client() as client:
        return Gateway(server.address, client.keys.create("bench").secret or "", MODELS)


def theirs(folder: Path, upstream: int, ends: contextlib.ExitStack) -> Gateway:
    """LiteLLM's proxy."""
    port = free_port()
    process = litellm(folder, port, upstream, "sk-peer", MODELS)
    ends.callback(process.wait)
    ends.callback(process.terminate)
    wait_for(port)
    return Gateway(f"http://127.0.0.1:{port}", "sk-peer", MODELS)


def counted(ways: dict[str, list[str]]) -> tuple[int, int, int]:
    """In how many ways the client reads what it should, in how many it is in form, and in how many it was tried."""
    says = sum(all(w.startswith((OTHER, FORM)) for w in wrong) for wrong in ways.values())
    return says, sum(not any(w.startswith((OTHER, FORM)) for w in wrong) for wrong in ways.values()), len(ways)


def shown(found: dict[str, Found], why: bool) -> None:
    """The table, and below it what each gateway does wrong."""
    names = list(found)
    print(f"{'':60}" + "".join(f"{name + ': says':>20}{'in form':>12}" for name in names))
    groups: dict[str, dict[str, list[int]]] = {}
    for row in found[names[0]]:
        whose, _, client = row.partition(" → ")
        group = "clients that leave" if ":" in whose else f"{whose.partition('_')[0]} → {client}"
        cells = []
        for name in names:
            says, form, tried_ = counted(found[name][row])
            for total in (group, "all"):
                held = groups.setdefault(total, {}).setdefault(name, [0, 0, 0])
                groups[total][name] = [held[0] + says, held[1] + form, held[2] + tried_]
            cells.append(f"{f'{says}/{tried_}':>20}{f'{form}/{tried_}':>12}")
        print(f"{row:60}" + "".join(cells))
    print()
    for group, sums in sorted(groups.items(), key=lambda g: g[0] == "all"):
        print(f"{group:60}" + "".join(f"{f'{a}/{n}':>20}{f'{b}/{n}':>12}" for a, b, n in sums.values()))
    for name in names if why else ():
        print(f"\n{name}")
        for row, ways in found[name].items():
            for way, wrong in ways.items():
                if wrong:
                    print(f"  {row}{', ' + way if way else ''}: {'; '.join(wrong)[:300]}")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", help="of a gateway that runs, without /v1")
    arguments.add_argument("--key", default="none")
    arguments.add_argument("--openai", default="openai/test", metavar="NAME")
    arguments.add_argument("--anthropic", default="anthropic/test", metavar="NAME")
    arguments.add_argument("--listen", type=int, default=0, metavar="PORT")
    arguments.add_argument("--only", default="", metavar="WORD", help="rows with this in their name")
    arguments.add_argument("--alone", action="store_true", help="without the peer")
    arguments.add_argument("--why", action="store_true", help="say what is wrong")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        listen = asked.listen or free_port()
        if asked.url:
            gateways = {"gateway": Gateway(asked.url.rstrip("/"), asked.key, {"openai": asked.openai, "anthropic": asked.anthropic})}
        else:
            gateways = {"windlass": ours(Path(folder), listen, ends)}
            gateways |= {} if asked.alone else {"litellm": theirs(Path(folder), listen, ends)}
        found = asyncio.run(measured(gateways, listen, asked.only))
    if asked.json:
        print(json.dumps(found))
    else:
        shown(found, asked.why)
    first = next(iter(found.values()))
    return 1 if any(wrong for row in first.values() for wrong in row.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

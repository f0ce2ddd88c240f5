"""helpdesk: ask the Python standard library. A chain that retrieves, answers and cites; an agent with four tools."""

import ast
import re
from collections.abc import Iterator

from stdlib import documents

import windlass as w

ABOUT_DATABASES = re.compile(r"\b(SQL|SQLite|databases?|dbm|shelf|shelve)\b", re.IGNORECASE)


class Answer(w.Output):
    """What the chain and the agent return: a sentence or two, and the symbols it was taken from."""

    text: str = w.text()
    symbols: list[str]


def database_documents() -> Iterator[dict[str, str]]:
    """The documents on databases, for an index in which "database" is no rare word that outweighs what else a question says."""
    return (row for row in documents() if row["symbol"].split(".")[0] in ("sqlite3", "dbm", "shelve"))


docs = w.index("stdlib", source=documents, chunk=w.by_paragraph(size=600))
databases = w.index("databases", source=database_documents, chunk=w.by_paragraph(size=600))
reply = w.component("reply", prompt="prompts/reply.md", model="baseline", output=Answer)
reply_on_databases = w.component("reply-on-databases", prompt="prompts/databases.md", model="baseline", output=Answer)


@w.chain
def answer(question: str) -> Answer:
    """Answer a question about the standard library, citing symbols; one on databases from what is about databases alone."""
    if not ABOUT_DATABASES.search(question):
        return reply(question=question, passages=docs.search(question, k=10))
    told_apart_by = ABOUT_DATABASES.sub("", question)  # all that is read is about databases, so saying so tells nothing apart
    return reply_on_databases(question=told_apart_by, passages=databases.search(question, k=30))


@w.tool(effects="read")
def read_entry(symbol: str) -> str:
    """The documentation of one module, class or function, by its qualified name such as asyncio.timeout."""
    found = docs.search(symbol, k=1, where={"symbol": symbol})
    return found[0].text if found else f"There is no entry for {symbol}."


@w.tool(effects="none")
def evaluate_literal(expression: str) -> str:
    """Evaluate a literal expression of numbers, strings, lists, tuples, dicts and sets, such as [1, 2, 3]."""
    try:
        return repr(ast.literal_eval(expression))
    except (ValueError, SyntaxError) as e:
        return f"That is not a literal: {e}"


@w.tool(effects="write")
def open_ticket(text: str) -> str:
    """Open a ticket for the maintainers about something that the documentation lacks or has wrong."""
    return f"A ticket is open: {text.removeprefix('Open a ticket for the maintainers: ')}"  # a real one would write to their tracker


guide = w.agent(
    "guide",
    prompt="prompts/guide.md",
    model="baseline",
    tools=[
        docs.as_tool("search_documentation", "Search the standard library's documentation for passages about a question."),
        read_entry,
        evaluate_literal,
        open_ticket,
    ],
    output=Answer,
    limits=w.Limits(steps=6),
)


@w.evaluator
def right_symbol(output: Answer, row) -> float:
    """1 when it cites a symbol that answers the question, or none when nothing does."""
    return float(bool(set(output.symbols) & set(row.symbols)) if row.symbols else not output.symbols)


@w.evaluator
def grounded(output: Answer, passages: list[w.Passage]) -> float:
    """The share of the answer's words that stand, in a run of four, in a passage it cites; 1 when it cites nothing."""
    if not output.symbols:
        return 1.0
    words = output.text.split()
    given = " ".join(" ".join(p.text.split()) for p in passages if p.symbol in output.symbols)
    found = {i + j for i in range(max(1, len(words) - 3)) for j in range(4) if " ".join(words[i : i + 4]) in given}
    return sum(i in found for i in range(len(words))) / max(1, len(words))


@w.evaluator
def no_answer_when_none(output: Answer, row) -> float:
    """1 when it answers exactly the questions that have an answer."""
    return float(bool(output.symbols) == bool(row.symbols))


w.suite(
    "answers",
    target=answer,
    data=w.data("data/questions.jsonl", split="test"),
    guards={right_symbol: w.not_worse(by=0.03), grounded: w.not_worse(by=0.05), no_answer_when_none: w.not_worse(by=0.05)},
    first_release={right_symbol: w.at_least(0.1), grounded: w.at_least(0.9)},
)

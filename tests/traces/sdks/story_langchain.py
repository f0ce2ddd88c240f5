"""The story as LangChain tells it: a chain with a retriever, models of OpenAI and Anthropic, a stream, a failure, a round with a tool."""

from __future__ import annotations

import openai
import story
from langchain_anthropic import ChatAnthropic
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

model = ChatOpenAI(model=story.MODEL, max_retries=0)
prompt = ChatPromptTemplate([("system", "You answer questions about {subject}."), ("user", "{question}")])


@tool
def look_up(order: int) -> str:
    """Where an order is"""
    return story.look_up(order)


def retrieve(question: str) -> None:
    documents = [Document(text, id=key, metadata={"source": key}) for key, text, _ in story.DOCUMENTS]
    embedder = OpenAIEmbeddings(model=story.EMBEDDER, check_embedding_ctx_length=False)
    InMemoryVectorStore.from_documents(documents, embedder).as_retriever().invoke(question)


def round_with_tool(question: str) -> str:
    messages = [SystemMessage(story.SYSTEM), HumanMessage(question)]
    bound = model.bind_tools([look_up])
    messages.append(bound.invoke(messages))
    messages += [look_up.invoke(call) for call in messages[-1].tool_calls]
    return bound.invoke(messages).content


def steps(question: str) -> str:
    retrieve(question)
    (prompt | model).invoke({"subject": "orders", "question": question})
    list(ChatOpenAI(model=story.MODEL, stream_usage=True).stream(question))
    ChatAnthropic(model=story.CLAUDE, max_tokens=100).invoke([SystemMessage(story.SYSTEM), HumanMessage(question)])
    try:
        model.invoke(story.FAILING)
    except openai.RateLimitError:
        pass
    return round_with_tool(question)


def tell() -> None:
    about = {"session_id": story.SESSION, "user_id": story.USER}
    RunnableLambda(steps, name="answer").invoke(story.QUESTION, {"tags": story.TAGS, "metadata": about})

// Langfuse's SDK for JavaScript: observations around the steps, its wrapper of OpenAI's client, a generation by hand with a prompt, a score.
import { LangfuseClient } from "@langfuse/client";
import { observeOpenAI } from "@langfuse/openai";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import { propagateAttributes, startActiveObservation, startObservation } from "@langfuse/tracing";
import { NodeSDK } from "@opentelemetry/sdk-node";
import OpenAI from "openai";

process.env.LANGFUSE_BASE_URL = process.env.WINDLASS_URL;
process.env.LANGFUSE_PUBLIC_KEY = process.env.WINDLASS_PROJECT ?? "pk-lf-shop";
process.env.LANGFUSE_SECRET_KEY = process.env.WINDLASS_KEY;
const sdk = new NodeSDK({ spanProcessors: [new LangfuseSpanProcessor({ release: "2026-11", environment: "production" })], instrumentations: [] });
sdk.start();
const langfuse = new LangfuseClient();
const question = "Where is order 7?";
const system = "You answer questions about orders.";
const said = "Order 7 was shipped on Monday.";
const messages = [
  { role: "system", content: system },
  { role: "user", content: question },
];
const model = "gpt-5-mini";
const parameters = { type: "object", properties: { order: { type: "integer" } }, required: ["order"] };
const tools = [{ type: "function", function: { name: "look_up", description: "Where an order is", parameters } }];

async function generations() {
  const prompt = await langfuse.prompt.get("answer", { fallback: system, maxRetries: 0 });
  const usageDetails = { input: 600, input_cached_tokens: 400, output: 30, output_reasoning_tokens: 20 };
  const costDetails = { input: 0.00016, output: 0.0001, total: 0.00026 };
  const known = { model, prompt, modelParameters: { temperature: 0.5 }, input: messages };
  startObservation("by hand", known, { asType: "generation" }).update({ output: said, usageDetails, costDetails }).end();
  const used = { input: 100, cache_read_input_tokens: 400, cache_creation_input_tokens: 50, output: 30 };
  const claude = startObservation("claude", { model: "claude-sonnet-4-5", input: question }, { asType: "generation" });
  claude.update({ output: said, usageDetails: used }).end();
}

async function answer() {
  const documents = ["Orders ship within two days.", "Returns take 14 days."];
  startObservation("docs", { input: question }, { asType: "retriever" }).update({ output: documents }).end();
  const client = observeOpenAI(new OpenAI({ maxRetries: 0 }));
  await client.embeddings.create({ model: "text-embedding-3-small", input: [question] });
  await client.chat.completions.create({ model, messages, temperature: 0.5, seed: 7 });
  const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
  for await (const _ of stream);
  await generations();
  await client.chat.completions.create({ model, messages: [{ role: "user", content: "fail, please" }] }).catch(() => {});
  const wanted = (await client.chat.completions.create({ model, messages, tools })).choices[0].message;
  const [call] = wanted.tool_calls;
  const tool = startObservation("look_up", { input: JSON.parse(call.function.arguments) }, { asType: "tool" });
  const told = { role: "tool", tool_call_id: call.id, content: "Order 7: shipped on Monday" };
  tool.update({ output: told.content }).end();
  return (await client.chat.completions.create({ model, messages: [...messages, wanted, told], tools })).choices[0].message.content;
}

await propagateAttributes({ sessionId: "s-1", userId: "u-7", tags: ["shop", "beta"], metadata: { shop: "north" } }, () =>
  startActiveObservation("answer", async (root) => {
    root.update({ input: question });
    root.update({ output: await answer() });
    langfuse.score.activeTrace({ name: "helpful", value: 0.9 });
  }),
);
await langfuse.flush();
await sdk.shutdown();

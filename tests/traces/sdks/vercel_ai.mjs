// Vercel's AI SDK, with OpenTelemetry's exporter (JSON). From version 7 on it writes GenAI's names through @ai-sdk/otel, or with
// AI_SDK_NAMES=legacy the ai.* names of before, through the same package; version 6 writes those itself where experimental_telemetry is on.
import * as ai from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { z } from "zod";

const server = process.env.WINDLASS_URL;
const headers = { authorization: `Bearer ${process.env.WINDLASS_KEY}` };
const sdk = new NodeSDK({ traceExporter: new OTLPTraceExporter({ url: `${server}/v1/traces`, headers }), instrumentations: [] });
sdk.start();
if (ai.registerTelemetry) {
  const otel = await import("@ai-sdk/otel");
  const legacy = process.env.AI_SDK_NAMES === "legacy";
  ai.registerTelemetry(legacy ? new otel.LegacyOpenTelemetry() : new otel.OpenTelemetry({ runtimeContext: true, usage: true }));
}

const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const anthropic = createAnthropic({ baseURL: `${process.env.ANTHROPIC_BASE_URL}/v1` });
const about = { sessionId: "s-1", userId: "u-7", tags: ["shop", "beta"] };
const told = (functionId) => {
  const telemetry = { isEnabled: true, functionId, metadata: about, includeRuntimeContext: { sessionId: true, userId: true, tags: true } };
  return { telemetry, experimental_telemetry: telemetry, runtimeContext: about, maxRetries: 0 };
};
const asked = { system: "You answer questions about orders.", prompt: "Where is order 7?" };
const tools = {
  look_up: ai.tool({
    description: "Where an order is",
    inputSchema: z.object({ order: z.number() }),
    execute: async ({ order }) => `Order ${order}: shipped on Monday`,
  }),
};

async function answer() {
  await ai.embed({ model: openai.embedding("text-embedding-3-small"), value: asked.prompt, ...told("embed") });
  await ai.generateText({ model: openai.chat("gpt-5-mini"), ...asked, seed: 7, ...told("chat") });
  const stream = ai.streamText({ model: openai.chat("gpt-5-mini"), ...asked, ...told("stream") });
  for await (const _ of stream.textStream);
  await ai.generateText({ model: anthropic("claude-sonnet-4-5"), ...asked, maxOutputTokens: 100, ...told("claude") });
  const failing = { ...asked, prompt: "fail, please" };
  await ai.generateText({ model: openai.chat("gpt-5-mini"), ...failing, ...told("failing") }).catch(() => {});
  const stopWhen = (ai.isStepCount ?? ai.stepCountIs)(3);
  return (await ai.generateText({ model: openai("gpt-5-mini"), ...asked, tools, stopWhen, ...told("answer") })).text;
}

await trace.getTracer("shop").startActiveSpan("answer", async (span) => {
  span.setAttribute("output", await answer());
  span.end();
});
await sdk.shutdown();

// <stream-box data-url data-target>: posts its form as a run and shows the answer as it streams.
// Inside it: a <form> whose fields are the inputs (data-kind="json" are parsed), [data-stop], [data-answer], [data-note].
// With data-chat its fields are the messages of a call of a model, and the gateway answers: a stream of OpenAI's chunks.
// Knows the event stream of operation runs.stream: `data: {"text"}`, last `{"result"}` or `{"error"}`.
class StreamBox extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.answer = this.querySelector("[data-answer]");
    this.note = this.querySelector("[data-note]");
    this.stop = this.querySelector("[data-stop]");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.run(); });
    this.stop.addEventListener("click", () => this.abort?.abort());
    this.form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) this.form.requestSubmit(); });
  }

  input() {
    const input = {};
    for (const field of this.form.elements) {
      if (!field.name || (!field.value && !field.required)) continue;
      input[field.name] = field.dataset.kind === "json" ? JSON.parse(field.value) : field.value;
    }
    return input;
  }

  // A call of a model; a message that is empty is none.
  call() {
    const fields = this.form.elements;
    const messages = [...this.form.querySelectorAll("[name=message]")].filter((field) => field.value.trim())
      .map((field) => field.dataset.kind === "json" ? JSON.parse(field.value) : { role: field.dataset.role, content: field.value });
    return { ...JSON.parse(fields.parameters.value.trim() || "{}"), model: fields.model.value, messages, stream: true };
  }

  async run() {
    let body;
    try {
      body = JSON.stringify("chat" in this.dataset ? this.call() : { target: this.dataset.target, input: this.input() });
    } catch {
      this.note.textContent = "One of the inputs is not JSON.";
      return;
    }
    this.wrong = false;
    this.abort = new AbortController();
    this.answer.hidden = false;
    this.answer.textContent = "";
    this.note.textContent = "running …";
    this.stop.hidden = false;
    try {
      const reply = await fetch(this.dataset.url, { method: "POST", body, headers: { "content-type": "application/json" }, signal: this.abort.signal });
      if (!reply.ok) return this.fail((await reply.json()).error);
      await this.read(reply.body.getReader());
      if (reply.headers.get("windlass-trace")) this.lead(reply.headers.get("windlass-trace"));
    } catch (error) {
      this.note.textContent = error.name === "AbortError" ? "stopped" : "The connection broke. Is Windlass still running?";
    } finally {
      this.stop.hidden = true;
    }
  }

  async read(reader) {
    const decoder = new TextDecoder();
    let pending = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      pending += decoder.decode(value, { stream: true });
      const events = pending.split("\n\n");
      pending = events.pop();
      for (const event of events) {
        const line = event.split("\n").find((l) => l.startsWith("data: "));
        if (line && line !== "data: [DONE]") this.show(JSON.parse(line.slice(6)));
      }
    }
  }

  show(piece) {
    if (piece.text) this.answer.textContent += piece.text;
    for (const choice of piece.choices ?? []) this.answer.textContent += this.said(choice.delta ?? {});
    if (piece.error) this.fail(piece.error.error ?? piece.error);
    if (!piece.result) return;
    this.answer.textContent = piece.result.text;
    const took = Math.round((piece.result.duration_ns ?? 0) / 1e6);
    const cost = piece.result.cost == null ? "cost unknown" : piece.result.cost === 0 ? "free" : `$${piece.result.cost.toPrecision(3)}`;
    this.lead(piece.result.trace, `${took} ms · ${cost} · `);
  }

  // A piece of an answer: its text, and calls of tools as they are written.
  said(delta) {
    const calls = (delta.tool_calls ?? []).map(({ function: called }) => `${called?.name ? `\ncalls ${called.name} ` : ""}${called?.arguments ?? ""}`);
    return (delta.content ?? "") + calls.join("");
  }

  // To the trace of what was run. What went wrong stays said.
  lead(trace, before = "") {
    if (this.wrong) return;
    const link = document.createElement("a");
    link.href = `/traces/${trace}`;
    link.textContent = "See the trace";
    this.note.replaceChildren(before, link);
  }

  fail(error) {
    this.wrong = true;
    this.answer.hidden = !this.answer.textContent;
    this.note.textContent = [error.where, error.message, error.remedy].filter(Boolean).join(" · ");
  }
}

customElements.define("stream-box", StreamBox);

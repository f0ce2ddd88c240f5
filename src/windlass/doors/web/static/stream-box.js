// <stream-box data-url data-target>: posts its form as a run and shows the answer as it streams.
// Inside it: a <form> whose fields are the inputs (data-kind="json" are parsed), [data-stop], [data-answer], [data-note].
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

  async run() {
    let body;
    try {
      body = JSON.stringify({ target: this.dataset.target, input: this.input() });
    } catch {
      this.note.textContent = "One of the inputs is not JSON.";
      return;
    }
    this.abort = new AbortController();
    this.answer.hidden = false;
    this.answer.textContent = "";
    this.note.textContent = "running …";
    this.stop.hidden = false;
    try {
      const reply = await fetch(this.dataset.url, { method: "POST", body, headers: { "content-type": "application/json" }, signal: this.abort.signal });
      if (!reply.ok) return this.fail((await reply.json()).error);
      await this.read(reply.body.getReader());
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
        if (line) this.show(JSON.parse(line.slice(6)));
      }
    }
  }

  show(piece) {
    if (piece.text) this.answer.textContent += piece.text;
    if (piece.error) this.fail(piece.error.error ?? piece.error);
    if (!piece.result) return;
    this.answer.textContent = piece.result.text;
    const link = document.createElement("a");
    link.href = `/traces/${piece.result.trace}`;
    link.textContent = "See the trace";
    const took = Math.round((piece.result.duration_ns ?? 0) / 1e6);
    const cost = piece.result.cost == null ? "cost unknown" : piece.result.cost === 0 ? "free" : `$${piece.result.cost.toPrecision(3)}`;
    this.note.replaceChildren(`${took} ms · ${cost} · `, link);
  }

  fail(error) {
    this.answer.hidden = !this.answer.textContent;
    this.note.textContent = [error.where, error.message, error.remedy].filter(Boolean).join(" · ");
  }
}

customElements.define("stream-box", StreamBox);

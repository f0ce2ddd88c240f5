// <live-tail data-from="…"> around the table of traces: asks for the list again a second after it was answered, and puts in what is new
// where the list has it. Rows that somebody has ticked, or is in, stay as they are. Its button pauses; so does a page that nobody sees.
customElements.define("live-tail", class extends HTMLElement {
  connectedCallback() {
    this.button = this.querySelector("button[data-pause]");
    this.note = this.querySelector("[role=status]");
    this.button.hidden = false;
    this.button.addEventListener("click", () => this.pause(!this.paused));
    this.seen = new Set(this.ids(document));
    this.fresh = 0;
    this.shown = () => this.soon();
    document.addEventListener("visibilitychange", this.shown);
    this.soon();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.shown);
  }

  pause(paused) {
    this.paused = paused;
    this.button.textContent = paused ? "Go on" : "Pause";
    this.say();
    this.soon();
  }

  soon() {
    clearTimeout(this.timer);
    if (!this.paused && !document.hidden && !this.asking) this.timer = setTimeout(() => this.ask(), 1000);
  }

  async ask() {
    this.asking = true;
    const answer = await fetch(this.dataset.from).catch(() => null);
    const page = answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
    this.asking = false;
    this.away = !page;
    if (page && !this.paused) this.put(page);
    this.say();
    this.soon();
  }

  // The rows of the list in its order, then those that were here before; 500 at most.
  put(page) {
    const table = document.querySelector("table.of-traces tbody");
    const listed = page.querySelectorAll("table.of-traces tr[data-trace]");
    if (!table) return listed.length ? location.reload() : undefined; // the first one there is
    const here = new Map([...table.querySelectorAll("tr[data-trace]")].map(row => [row.dataset.trace, row]));
    let after = table.querySelector("tr:not([data-trace])");
    for (const row of listed) {
      const old = here.get(row.dataset.trace);
      if (!this.seen.has(row.dataset.trace)) {
        this.seen.add(row.dataset.trace);
        this.fresh += 1;
        row.classList.add("fresh");
      }
      const keep = old && (old.contains(document.activeElement) || old.querySelector("input:checked"));
      const next = keep ? old : row;
      if (old && !keep) {
        row.classList.toggle("fresh", old.classList.contains("fresh"));
        old.remove();
      }
      if (after.nextElementSibling !== next) after.after(next);
      after = next;
    }
    for (const row of [...table.querySelectorAll("tr[data-trace]")].slice(500)) row.remove();
  }

  ids(page) {
    return [...page.querySelectorAll("tr[data-trace]")].map(row => row.dataset.trace);
  }

  say() {
    const state = this.away ? "The server does not answer; it is asked again." : this.paused ? "Paused." : "Following.";
    const said = `${state} ${this.fresh.toLocaleString("en")} new`;
    if (this.note.textContent !== said) this.note.textContent = said;
  }
});

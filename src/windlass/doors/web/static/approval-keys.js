// <approval-keys> around requests: j and k go from one to the next, a lets it through, d denies it. Not while somebody writes.
// With data-watch it looks every two seconds what waits. Nothing moves under the reader's hand: a request that is over is marked in its
// place and cannot be answered, new ones are told of above; only a page that shows none is shown anew by itself.
customElements.define("approval-keys", class extends HTMLElement {
  connectedCallback() {
    this.named = document.title;
    document.addEventListener("keydown", event => this.pressed(event));
    if (this.dataset.watch) this.later();
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("input, textarea, select")) return;
    const all = [...this.querySelectorAll("form")];
    const at = all.findIndex(form => form.contains(document.activeElement));
    if (event.key === "j" || event.key === "k") {
      const next = all[Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), all.length - 1)];
      next?.querySelector("button").focus();
      event.preventDefault();
    } else if ((event.key === "a" || event.key === "d") && at >= 0) { // only the one that has the focus: nothing unseen is let through
      all[at].querySelector(`button[value=${event.key === "a" ? "allow" : "deny"}]`).click();
      event.preventDefault();
    }
  }

  later() {
    setTimeout(() => this.look().catch(() => this.say("This page cannot be kept up to date: the server does not answer.")).finally(() => this.later()), 2000);
  }

  async look() {
    const answer = await fetch(this.dataset.watch, { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = (await answer.json()).page;
    const waiting = new Set(page.items.map(item => item.id));
    const cards = [...this.querySelectorAll("[data-id]")];
    const shown = new Set(cards.map(card => card.dataset.id));
    for (const card of cards) if (!waiting.has(card.dataset.id) && !page.next) this.end(card);
    const fresh = [...waiting].filter(id => !shown.has(id)).length;
    document.title = page.waiting ? `(${page.waiting}) ${this.named}` : this.named;
    if (fresh && !cards.length) return location.reload();
    this.say(fresh ? `${fresh} more ${fresh === 1 ? "call waits" : "calls wait"}.` : "");
  }

  end(card) {
    card.querySelector("form")?.remove();
    card.querySelector("[data-over]").hidden = false;
  }

  say(text) {
    const place = this.querySelector("[role=status]");
    if (place.querySelector("[data-said]").textContent === text) return;
    place.querySelector("[data-said]").textContent = text;
    place.hidden = !text;
  }
});

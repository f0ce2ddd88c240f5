// <trace-tree> around the table of a trace's steps. A twist opens what is below its step, asking the server for what is not here yet, and
// closes it; "more" is put in its place. Arrow keys go up and down, right opens or goes in, left closes or goes out. Without this script
// each of them is a link to a page.
customElements.define("trace-tree", class extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", event => this.clicked(event));
    this.addEventListener("keydown", event => this.pressed(event));
    const chosen = this.querySelector("tr.on"), around = this.closest(".within");
    if (chosen && around) around.scrollTop += chosen.getBoundingClientRect().top - around.getBoundingClientRect().top - around.clientHeight / 2;
  }

  clicked(event) {
    const link = event.target.closest("a.twist, a.rest");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.matches(".rest")) this.ask(link, link.href, link.closest("tr"));
    else this.turn(link);
  }

  // Open or close what is below the step of a twist.
  turn(twist, open = twist.getAttribute("aria-expanded") !== "true") {
    const row = twist.closest("tr");
    if (open && !this.under(row).length) return this.ask(twist, `${twist.href}&levels=1`, row);
    twist.setAttribute("aria-expanded", open);
    let shut = Infinity;
    for (const each of this.under(row)) {
      const level = Number(each.dataset.level);
      if (level <= shut) shut = Infinity;
      each.hidden = !open || level > shut;
      if (shut === Infinity && each.querySelector(".twist[aria-expanded=false]")) shut = level;
    }
  }

  under(row) {
    const found = [];
    for (let next = row.nextElementSibling; next && Number(next.dataset.level) > Number(row.dataset.level); next = next.nextElementSibling) found.push(next);
    return found;
  }

  async ask(link, url, row) {
    if (link.ariaBusy === "true") return;
    link.ariaBusy = "true";
    const answer = await fetch(url).catch(() => null);
    link.ariaBusy = "false";
    if (!answer?.ok) return void (location.href = link.href); // whose page says why
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const rows = [...page.querySelectorAll("#tree tbody tr")];
    const rest = link.matches(".rest");
    const fresh = rest ? rows.filter(each => !each.querySelector(".earlier")) : rows;
    row.after(...fresh);
    if (rest) {
      row.remove();
      fresh[0]?.querySelector("a:not(.twist)")?.focus();
    } else if (fresh.length) link.setAttribute("aria-expanded", "true");
  }

  pressed(event) {
    const row = event.target.closest("tr");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const twist = row.querySelector("a.twist");
    const open = twist?.getAttribute("aria-expanded") === "true";
    if (event.key === "ArrowDown") this.go(row, "nextElementSibling");
    else if (event.key === "ArrowUp") this.go(row, "previousElementSibling");
    else if (event.key === "ArrowRight" && twist) open ? this.go(row, "nextElementSibling") : this.turn(twist, true);
    else if (event.key === "ArrowLeft") {
      if (open) this.turn(twist, false);
      else this.go(row, "previousElementSibling", Number(row.dataset.level));
    } else return;
    event.preventDefault();
  }

  // To the next row that is shown; to the step that a row is below, where its `level` is given.
  go(row, way, level = Infinity) {
    let next = row[way];
    while (next && (next.hidden || Number(next.dataset.level) >= level)) next = next[way];
    (next?.querySelector("a:not(.twist)") ?? next?.querySelector("a"))?.focus();
  }
});

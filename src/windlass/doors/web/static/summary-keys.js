// <summary-keys> around details: j and k go from one summary to the next; Enter opens one, as everywhere. Not while somebody writes.
customElements.define("summary-keys", class extends HTMLElement {
  connectedCallback() {
    document.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
      if (event.key !== "j" && event.key !== "k") return;
      const all = [...this.querySelectorAll("summary")];
      const at = all.indexOf(document.activeElement);
      all[Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), all.length - 1)]?.focus();
      event.preventDefault();
    });
  }
});

// <approval-keys> around requests: j and k go from one to the next, a lets it through, d denies it. Not while somebody writes.
customElements.define("approval-keys", class extends HTMLElement {
  connectedCallback() {
    document.addEventListener("keydown", event => {
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
    });
  }
});

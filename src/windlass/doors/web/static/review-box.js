// <review-box>: keys for what is marked with [data-key] inside it. A link or button is clicked, a <details> opened with the focus in its
// first field. In a field keys are text, but for Escape, which leaves it, and Ctrl+Enter, which saves. Knows nothing of what is decided.
class ReviewBox extends HTMLElement {
  connectedCallback() {
    this.press = (event) => this.pressed(event);
    document.addEventListener("keydown", this.press);
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.press);
  }

  pressed(event) {
    const field = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      const button = field?.form?.querySelector("button") ?? this.querySelector("[data-save]");
      button?.click();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "Escape") return document.activeElement?.blur();
    if (field || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
    const found = this.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!found) return;
    event.preventDefault();
    if (found.localName !== "details") return found.click();
    found.open = !found.open;
    if (found.open) (found.querySelector("input, textarea") ?? found.querySelector("summary")).focus();
    if (found.open) found.scrollIntoView({ block: "nearest" });
  }
}

customElements.define("review-box", ReviewBox);

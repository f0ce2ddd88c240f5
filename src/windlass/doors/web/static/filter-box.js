// <filter-box data-from="…">: the input in it becomes a combobox. What may stand where somebody types is asked of that address, which
// answers {start, end, suggestions: [{text, about, traces}]}. Arrow keys choose, Enter or Tab takes, Escape closes; without a choice Enter
// sends the form, as without this script.
class FilterBox extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("input");
    this.list = document.createElement("ul");
    Object.assign(this.list, { id: "filter-suggestions", hidden: true });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "What may stand here");
    this.append(this.list);
    const roles = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(roles)) this.input.setAttribute(name, value);
    this.input.addEventListener("input", () => this.soon());
    this.input.addEventListener("click", () => this.soon());
    this.input.addEventListener("keydown", (event) => this.pressed(event));
    this.input.addEventListener("blur", () => this.close());
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.take(event.target.closest("li")));
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    this.list.remove();
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), 120);
  }

  async ask() {
    const form = new FormData(this.input.form);
    const asked = new URLSearchParams({ filter: this.input.value, at: this.input.selectionStart });
    for (const name of ["last", "evaluation"]) if (form.get(name)) asked.set(name, form.get(name));
    const typed = this.input.value;
    const answer = await fetch(`${this.dataset.from}?${asked}`).catch(() => null);
    if (!answer?.ok || typed !== this.input.value || document.activeElement !== this.input) return;
    this.show(await answer.json());
  }

  show({ start, end, suggestions }) {
    this.span = [start, end];
    this.list.replaceChildren(
      ...suggestions.map(({ text, about, traces }, n) => {
        const option = document.createElement("li");
        option.id = `filter-suggestion-${n}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.text = text;
        const written = document.createElement("span");
        written.textContent = text;
        const said = document.createElement("small");
        said.textContent = traces === undefined || traces === null ? (about ?? "") : traces.toLocaleString("en");
        option.append(written, " ", said);
        return option;
      }),
    );
    this.choose(-1);
    this.list.hidden = !suggestions.length;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
  }

  choose(n) {
    this.chosen = n;
    [...this.list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === n)));
    const option = this.list.children[n];
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const many = this.list.children.length;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.list.hidden) this.ask();
    else if (step) this.choose((this.chosen + step + many + (this.chosen < 0 && step < 0 ? 1 : 0)) % many);
    else if (event.key === "Escape" && !this.list.hidden) this.close();
    else if ((event.key === "Enter" || event.key === "Tab") && !this.list.hidden && this.chosen >= 0) this.take(this.list.children[this.chosen]);
    else return;
    event.preventDefault();
  }

  take(option) {
    if (!option) return;
    const [start, end] = this.span;
    const text = option.dataset.text;
    const goesOn = /[:<>.]$/.test(text);
    const after = this.input.value.slice(end);
    const blank = goesOn || after.startsWith(" ") || after.startsWith(")") ? "" : " ";
    this.input.value = this.input.value.slice(0, start) + text + blank + after;
    const at = start + text.length + blank.length;
    this.input.focus();
    this.input.setSelectionRange(at, at);
    this.close();
    if (goesOn) this.ask();
  }

  close() {
    clearTimeout(this.timer);
    this.list.hidden = true;
    this.list.replaceChildren();
    this.choose(-1);
    this.input.setAttribute("aria-expanded", "false");
  }
}

customElements.define("filter-box", FilterBox);

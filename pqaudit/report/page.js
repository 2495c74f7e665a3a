"use strict";
// Tables are whole without this script: it adds buttons that sort and shows the fields that filter.
const collator = new Intl.Collator("en", { numeric: true });
const compare = (a, b) => (typeof a === "number" ? a - b : collator.compare(a, b));

const keyOf = (cell) => {
  const key = cell.dataset.key ?? cell.textContent;
  return cell.dataset.key !== undefined && /^-?\d+$/.test(key) ? Number(key) : key;
};

const addSorting = (table) => {
  const [body] = table.tBodies;
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
      body.append(...[...rows].sort((a, b) => compare(keys.get(a), keys.get(b)) * (down ? -1 : 1)));
    });
  });
};

// Pieces of text that lie in different places must not join to words that the page does not show.
const textOf = (row) => {
  const pieces = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
  let whole = "";
  while (pieces.nextNode()) whole += `${pieces.currentNode.data}\n`;
  return whole.toLowerCase();
};

const addFilter = (box) => {
  const rows = [...box.querySelector("tbody").rows];
  const form = box.querySelector(".filter");
  const fields = ["text", "policy", "status"].map((name) => form.querySelector(`[data-field=${name}]`));
  const [text, policy, status] = fields;
  const said = form.querySelector("[role=status]");
  const found = new Map(rows.map((row) => [row, textOf(row)]));
  const states = new Map(rows.map((row) => [row, [...row.querySelectorAll("[data-policy]")].map((e) => e.dataset)]));
  const filter = () => {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = wanted.every((word) => found.get(row).includes(word)) && states.get(row).some((state) =>
        (!policy.value || state.policy === policy.value) && (!status.value || state.status === status.value));
      row.hidden = !fits;
      shown += fits;
    }
    said.textContent = `${shown} of ${rows.length} rows are shown.`;
  };
  fields.forEach((field) => field.addEventListener("input", filter));
  // Not every browser empties a search field by this key.
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      text.value = "";
      filter();
    }
  });
  form.hidden = false;
  filter();
};

document.querySelectorAll("table").forEach(addSorting);
document.querySelectorAll(".filtered").forEach(addFilter);

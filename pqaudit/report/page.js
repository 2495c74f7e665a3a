"use strict";
// Tables are whole without this script: it adds buttons that sort and shows the fields that filter.
for (const box of document.querySelectorAll(".sortable")) {
  const body = box.querySelector("tbody");
  const heads = [...box.querySelectorAll("thead th")];
  const rows = [...body.rows];
  const collator = new Intl.Collator("en", { numeric: true });
  const key = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent;

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, key(row, column)]));
      const sorted = [...rows].sort((a, b) => collator.compare(keys.get(a), keys.get(b)) * (down ? -1 : 1));
      body.append(...sorted);
    });
  });

  const form = box.querySelector(".filter");
  const [text, policy, status] = ["text", "policy", "status"].map((name) => form.querySelector(`[data-field=${name}]`));
  const said = form.querySelector("[role=status]");
  const found = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
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
  [text, policy, status].forEach((field) => field.addEventListener("input", filter));
  form.hidden = false;
  filter();
}

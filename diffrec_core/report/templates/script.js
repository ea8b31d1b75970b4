"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("th[data-column]")];
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, heads, head));
  }
}
function sort(table, heads, head) {
  const now = head.getAttribute("aria-sort");
  const order = !now ? head.dataset.first : now === "ascending" ? "descending" : "ascending";
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const key = (row) => {
    const cell = row.cells[head.dataset.column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].sort((a, b) => sign * compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
}
const picker = document.getElementById("user-picker");
const users = [...document.querySelectorAll("details.user")];
function show() {
  users.forEach((user, index) => {
    user.hidden = index !== picker.selectedIndex;
    user.open = true;
  });
}
if (users.length > 0) {
  picker.closest("p").hidden = false;
  picker.addEventListener("change", show);
  show();
}

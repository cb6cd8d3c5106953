// Makes the columns of every table.sortable sortable: numbers by data-value, words by their letters.
"use strict";

function keyOf(row, column) {
  const value = row.cells[column].dataset.value;
  const number = Number(value);
  return value === "" || Number.isNaN(number) ? value : number;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other));
}

function sortBy(table, head) {
  const column = head.cellIndex;
  const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((one, other) => turn * compare(keyOf(one, column), keyOf(other, column)));
  body.append(...rows);
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, head));
    head.append(button);
  }
}

// A link to a unit opens its parameters, a link to a task the list that it stands in.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const details = target.querySelector("details");
  if (details) details.open = true;
  const list = target.closest("details");
  if (list) list.open = true;
  target.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", openTarget);
openTarget();

"use strict";
const table = document.getElementById("symbols");
const body = table.tBodies[0];
const rows = [...body.rows];
const tools = document.getElementById("tools");

// Sorting: a click on a column's head, once more for the other way; rows without a value go last.
const key = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
};
const NUMERIC = new Set([1, 3, 4, 5, 6, 7]);
const sort = (column, down) => {
  const numeric = NUMERIC.has(column);
  const order = rows.map((row, place) => ({ row, place, key: key(row, column) }));
  order.sort((a, b) => {
    if (numeric) {
      const lacks = (typeof a.key !== "number") - (typeof b.key !== "number");
      if (lacks || typeof a.key !== "number") return lacks || a.place - b.place;
      return (down ? b.key - a.key : a.key - b.key) || a.place - b.place;
    }
    const way = a.key.localeCompare(b.key, "en", { numeric: true });
    return (down ? -way : way) || a.place - b.place;
  });
  body.append(...order.map((entry) => entry.row));
};
const heads = [...table.tHead.rows[0].cells];
const choice = document.createElement("select");
choice.append(new Option("need of a person", ""));
heads.forEach((head, column) => {
  if (column === 2 || column === 8) return;
  choice.append(new Option(head.textContent, column));
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const first = NUMERIC.has(column) && column !== 1 ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const way = head.getAttribute("aria-sort") === first ? other : first;
    for (const cell of heads) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", way);
    choice.value = column;
    sort(column, way === "descending");
  });
});

// A phone shows no heads: a list stands for them.
choice.addEventListener("change", () => {
  for (const cell of heads) cell.removeAttribute("aria-sort");
  if (choice.value) heads[choice.value].querySelector("button").click();
  else body.append(...rows);
});
const sorting = document.createElement("label");
sorting.className = "narrow";
sorting.append("sorted by", choice);

// Filtering: by text in the symbol or the reason, and by verdict.
const search = document.createElement("input");
search.type = "search";
search.placeholder = "symbol or reason";
search.setAttribute("aria-label", "Show symbols whose name or reason contains");
const tally = document.createElement("span");
tally.setAttribute("role", "status");
const boxes = [...new Set(rows.map((row) => row.className))].map((status) => {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = true;
  box.value = status;
  return box;
});
const filter = () => {
  const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  const text = search.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const words = (row.cells[0].textContent + " " + row.cells[1].textContent).toLowerCase();
    row.hidden = !(wanted.has(row.className) && words.includes(text));
    shown += !row.hidden;
  }
  tally.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
};
tools.append(search);
for (const box of boxes) {
  const label = document.createElement("label");
  label.append(box, box.value);
  tools.append(label);
  box.addEventListener("change", filter);
}
tools.append(sorting, tally);
search.addEventListener("input", filter);
tools.hidden = false;

"use strict";

/* Sort a table by the column of a clicked heading: numbers first, then text. */
function compare(a, b) {
  const numbers = [a, b].map((value) => typeof value === "number" && !Number.isNaN(value));
  if (numbers[0] && numbers[1]) return a - b;
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return String(a).localeCompare(String(b));
}

function cellValue(row, column) {
  const { dataset, textContent } = row.cells[column];
  if (dataset.value !== undefined) return Number(dataset.value);
  const number = parseFloat(textContent.replace("−", "-").replace(/,(?=\d{3})/g, ""));
  return Number.isNaN(number) ? textContent : number;
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head) return;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * compare(cellValue(a, head.cellIndex), cellValue(b, head.cellIndex)));
    table.tBodies[0].append(...rows);
  });
}

/* Download the embedded figure; without JavaScript, the link opens the file next to the page. */
for (const link of document.querySelectorAll("a.svg")) link.href = link.closest("figure").querySelector("img").src;

/* Mark the section on screen in the table of contents. */
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [document.querySelector(link.hash), link]));
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) links.get(target).classList.toggle("current", isIntersecting);
}, { rootMargin: "-30% 0px -69% 0px" });
for (const section of links.keys()) observer.observe(section);

/* Print the statistics of the first screen. */
addEventListener("beforeprint", () => { document.querySelector(".first details").open = true; });

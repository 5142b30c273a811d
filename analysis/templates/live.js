"use strict";
const shown = {};
let latest = null;

// Text that the user is selecting stays as it is until the selection is gone.
function isSelected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

function replace(element, html) {
  const above = element.getBoundingClientRect().bottom < 0;
  const before = document.documentElement.scrollHeight;
  const scrolled = [...element.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  element.innerHTML = html;
  element.querySelectorAll(".scroll").forEach((box, number) => { box.scrollLeft = scrolled[number] || 0; });
  if (above) scrollBy(0, document.documentElement.scrollHeight - before);
}

function update() {
  if (JSON.stringify(latest.runs) !== JSON.stringify(JSON.parse(document.body.dataset.runs))) return location.reload();
  document.title = latest.title;
  for (const element of document.querySelectorAll("[data-fragment]")) {
    const id = element.dataset.fragment, html = latest.fragments[id];
    if (shown[id] === html || isSelected(element)) continue;
    if (id in shown || element.innerHTML !== html) replace(element, html);
    shown[id] = html;
  }
}

async function refresh() {
  try {
    const response = await fetch("content");
    if (!response.ok) throw new Error(response.statusText);
    latest = await response.json();
    document.getElementById("connection").hidden = true;
    update();
  } catch {
    document.getElementById("connection").hidden = false;
  }
  setTimeout(refresh, 1000);
}

refresh();

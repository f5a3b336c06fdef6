"use strict";
// What is pointed at is described; a click on a point of a front shows its network.
const tip = document.getElementById("tip");

function showTip(mark) {
  if (!mark.dataset.tip) return;
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  const above = box.top - tip.offsetHeight - 8;
  tip.style.top = `${(above > 0 ? above : box.bottom + 8) + window.scrollY}px`;
}

function hideTip() {
  tip.hidden = true;
}

function select(mark) {
  const chosen = document.getElementById(mark.dataset.select);
  for (const panel of chosen.parentElement.children) panel.hidden = panel !== chosen;
  markSelected();
}

function markSelected() {
  for (const mark of document.querySelectorAll("[data-select]")) {
    const isShown = !document.getElementById(mark.dataset.select).hidden;
    mark.classList.toggle("selected", isShown);
    mark.setAttribute("aria-pressed", String(isShown));
  }
}

for (const mark of document.querySelectorAll("[data-tip]")) {
  mark.addEventListener("pointerenter", () => showTip(mark));
  mark.addEventListener("pointerleave", hideTip);
  mark.addEventListener("focus", () => showTip(mark));
  mark.addEventListener("blur", hideTip);
}
for (const mark of document.querySelectorAll("[data-select]")) {
  mark.addEventListener("click", () => select(mark));
  mark.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      select(mark);
    }
  });
}
markSelected();

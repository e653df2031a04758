// The page apart from its figures: theme, where the reader is, sorting, copying. Runs before the body is read.
"use strict";

const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

// A choice in the address (#dark) counts for this visit; one made with the button is remembered where that is allowed.
function chosenTheme() {
  if (["#dark", "#light"].includes(location.hash)) return location.hash.slice(1);
  try { return localStorage.getItem("lstm-ray-theme"); } catch { return null; }
}
function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches;
}
function setTheme(theme) {
  if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
  dispatchEvent(new Event("themechange"));
}
setTheme(chosenTheme());
systemIsDark.addEventListener("change", () => dispatchEvent(new Event("themechange")));

addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    setTheme(isDark() ? "light" : "dark");
    try { localStorage.setItem("lstm-ray-theme", root.dataset.theme); } catch { /* private mode */ }
  });
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("pre.copyable").forEach(makeCopyable);
  followReader();
});

// A click sorts upwards, the next one downwards; empty cells stay last.
function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const numeric = head.classList.contains("number");
    const key = row => row.cells[at].dataset.sort;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return up ? order : -order;
    });
    table.tBodies[0].append(...rows);
  }));
}

function makeCopyable(block) {
  if (!navigator.clipboard) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}

// Marks the section that crosses the upper part of the window in the side navigation.
function followReader() {
  const links = [...document.querySelectorAll(".side li a")];
  const observer = new IntersectionObserver(entries => entries.forEach(entry => {
    if (!entry.isIntersecting) return;
    const current = links.find(link => link.hash === `#${entry.target.id}`);
    links.forEach(link => link === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"));
  }), { rootMargin: "-10% 0px -75% 0px" });
  document.querySelectorAll("[data-section]").forEach(section => observer.observe(section));
}

"use strict";
const $ = (selector, root = document) => [...root.querySelectorAll(selector)];
const tip = document.getElementById("tip");
const live = document.getElementById("live");
const store = {
  get(key) { try { return sessionStorage.getItem(`forewarn ${location.pathname} ${key}`); } catch { return null; } },
  set(key, value) { try { sessionStorage.setItem(`forewarn ${location.pathname} ${key}`, value); } catch { /* private */ } },
};
const state = { run: store.get("run") || "", type: store.get("type") || "", words: store.get("words") || "", sorted: {}, hidden: new Set() };

// Explanations: titles become one tooltip that the keyboard reaches as well.
function explain(root) {
  for (const element of $("[title]", root)) {
    element.dataset.tip = element.getAttribute("title");
    element.removeAttribute("title");
  }
  for (const mark of $(".mark[tabindex]", root)) {
    const title = mark.querySelector("title");
    if (!title) continue;
    mark.dataset.tip = title.textContent;
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  // One stop of the Tab key for each picture; the arrow keys go from mark to mark.
  for (const picture of $("svg", root)) {
    const first = picture.querySelector(".mark[tabindex]");
    if (first) first.setAttribute("tabindex", "0");
  }
}
function show(element) {
  tip.textContent = element.dataset.tip;
  tip.hidden = false;
  const at = element.getBoundingClientRect(), box = tip.getBoundingClientRect(), gap = 8;
  const left = Math.min(Math.max(at.left + at.width / 2 - box.width / 2, gap), innerWidth - box.width - gap);
  const above = at.top - box.height - gap;
  tip.style.left = `${Math.max(left, gap)}px`;
  tip.style.top = `${above > gap ? above : Math.min(at.bottom + gap, innerHeight - box.height - gap)}px`;
}
const hide = () => { tip.hidden = true; };
const told = (event) => event.target.closest ? event.target.closest("[data-tip]") : null;
document.addEventListener("pointerover", (event) => { const found = told(event); if (found) show(found); else hide(); });
document.addEventListener("focusin", (event) => { const found = told(event); if (found) show(found); else hide(); });
document.addEventListener("focusout", hide);
addEventListener("scroll", hide, { passive: true, capture: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  const mark = event.target.closest ? event.target.closest(".mark[tabindex]") : null;
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!mark || !by) return;
  event.preventDefault();
  const marks = $(".mark[tabindex]", mark.closest("svg")).filter((one) => getComputedStyle(one).display !== "none");
  const next = marks[(marks.indexOf(mark) + by + marks.length) % marks.length];
  mark.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
});

// Tables: a click on a column's name sorts by it; numbers by value, a missing one last.
function number(text) {
  const found = text.replace(/,(?=\d{3})/g, "").match(/^[<\s]*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)/i);
  if (!found) return null;
  const parts = found[1].toLowerCase().split("e");
  return parts.length > 1 ? { sign: 1, size: Math.log10(+parts[0]) + +parts[1] } : { plain: +found[1] };
}
function compare(a, b) {
  const log = (x) => x.plain === undefined ? x.size : (x.plain > 0 ? Math.log10(x.plain) : -Infinity);
  if (a.plain !== undefined && b.plain !== undefined) return a.plain - b.plain;
  const [p, q] = [log(a), log(b)];
  return p === q ? 0 : p - q;
}
function sort(table, column, direction) {
  const heads = $("thead th", table), body = table.tBodies[0];
  heads.forEach((head, i) => head.setAttribute("aria-sort", i === column ? direction : "none"));
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row, place) => {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    return { row, place, text, value: number(text) };
  });
  const numeric = rows.some((one) => one.value !== null);
  rows.sort((a, b) => {
    if (numeric) {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      return sign * compare(a.value, b.value) || a.place - b.place;
    }
    return sign * a.text.localeCompare(b.text, "en", { numeric: true }) || a.place - b.place;
  });
  body.append(...rows.map((one) => one.row));
}
function sortable(root) {
  $("table.sortable", root).forEach((table, place) => {
    const key = `${table.caption ? table.caption.textContent : ""} ${place}`;
    $("thead th", table).forEach((head, column) => {
      const name = head.querySelector(".head"), button = document.createElement("button");
      button.type = "button";
      button.textContent = name.textContent;
      if (name.title) { button.title = name.title; button.className = "explained"; }
      name.replaceWith(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const direction = head.getAttribute("aria-sort") === first ? other : first;
        state.sorted[key] = [column, direction];
        sort(table, column, direction);
      });
    });
    if (state.sorted[key]) sort(table, ...state.sorted[key]);
  });
}

// Filters: what belongs to another run or type goes away; what belongs to none stays.
function filter() {
  const words = state.words.trim().toLowerCase();
  let shown = 0, all = 0;
  for (const one of $("[data-run], [data-type]")) {
    const { run = "", type = "" } = one.dataset;
    const away = (state.run && run && run !== state.run) || (state.type && type && type !== state.type) ||
      (words && type && !type.toLowerCase().includes(words));
    one.classList.toggle("away", Boolean(away));
    if (one.matches(".panel")) { all += 1; shown += away ? 0 : 1; }
  }
  for (const output of $(".filters output")) output.value = shown < all ? `${shown} of ${all} panels` : "";
  for (const key of ["run", "type", "words"]) store.set(key, state[key]);
}
function filters() {
  for (const form of $(".filters")) {
    form.hidden = false;
    for (const key of ["run", "type", "words"]) {
      const field = form.elements[key];
      const known = field.tagName !== "SELECT" || [...field.options].some((option) => option.value === state[key]);
      if (!known) state[key] = "";
      field.value = state[key];
      if (field.tagName === "SELECT" && field.options.length < 3) field.parentElement.hidden = true;
      field.addEventListener("input", () => { state[key] = field.value; filter(); });
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      Object.assign(state, { run: "", type: "", words: "" });
      filter();
    });
  }
  filter();
}

// Legends: a click takes a series away, or brings it back.
function legends() {
  const apply = () => {
    for (const name of $("[data-series]")) name.setAttribute("aria-pressed", String(!state.hidden.has(name.dataset.series)));
    for (const mark of $('[class*="s-"]', document)) {
      const key = [...mark.classList].find((one) => one.startsWith("s-"));
      if (key) mark.classList.toggle("away", state.hidden.has(key.slice(2)));
    }
  };
  for (const item of $(".key li[data-series]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.series = item.dataset.series;
    button.append(...item.childNodes);
    item.removeAttribute("data-series");
    item.append(button);
    button.addEventListener("click", () => {
      const key = button.dataset.series;
      if (!state.hidden.delete(key)) state.hidden.add(key);
      apply();
    });
  }
  apply();
}

function begin(root) { sortable(root); explain(root); legends(); filters(); }
begin(document);
let opened = [];
addEventListener("beforeprint", () => { opened = $("details:not([open])"); opened.forEach((one) => { one.open = true; }); });
addEventListener("afterprint", () => { opened.forEach((one) => { one.open = false; }); });
// A link to a folded place opens it.
function unfold() {
  const found = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let one = found; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  if (found && found.matches(".hits") && !found.querySelector("details[open]")) {
    const first = found.querySelector("details");
    if (first) first.open = true;
  }
}
addEventListener("hashchange", unfold);
unfold();

// A served page follows its run: what has changed is put in place, and the reader stays where they are.
async function follow() {
  const main = document.querySelector("main");
  try {
    const answer = await fetch("version", { cache: "no-store" });
    const version = answer.ok ? (await answer.text()).trim() : main.dataset.version;
    if (version !== main.dataset.version) {
      const text = await (await fetch("./", { cache: "no-store" })).text();
      const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
      const open = new Set($("details[open]").map((one) => one.querySelector("summary").textContent + one.closest("section").id));
      const place = scrollY, focused = document.activeElement && document.activeElement.name;
      main.replaceWith(fresh);
      hide();
      for (const one of $("details")) if (open.has(one.querySelector("summary").textContent + one.closest("section").id)) one.open = true;
      begin(document);
      if (focused && $(".filters").length) { const field = $(".filters")[0].elements[focused]; if (field) field.focus(); }
      scrollTo(0, place);
      live.textContent = "New data";
      setTimeout(() => { live.textContent = ""; }, 4000);
    } else if (live.textContent.startsWith("The server")) live.textContent = "";
  } catch {
    live.textContent = "The server has stopped: this page is as it was";
  }
  setTimeout(follow, 2000);
}
if (document.querySelector("main").dataset.version) setTimeout(follow, 2000);

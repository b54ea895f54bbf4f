"use strict";
(() => {
  const rows = [...document.querySelectorAll("#cases tbody tr")];
  const tools = document.getElementById("tools");
  const bar = document.getElementById("bar");
  if (!rows.length) return;
  const KEY = "itk_infer review " + document.documentElement.dataset.report;
  const VERDICTS = { a: "accept", r: "review", x: "reject" };
  const COLUMNS = ["case", "mask", "sha256", "verdict", "who", "when", "note"];
  let stored = { who: "", masks: {} };
  let now = null;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  // A decision is kept under path and digest of its mask: a new mask has none.
  const idOf = (row) => `${row.dataset.mask}\n${row.dataset.sha256}`;

  function load() {
    try {
      const text = localStorage.getItem(KEY);
      if (text) stored = { who: "", masks: {}, ...JSON.parse(text) };
    } catch {
      say("This browser keeps nothing for this page: export the decisions before you close it.");
    }
    for (const row of rows) {
      const own = stored.masks[idOf(row)];
      if (own && own.when >= (row.dataset.when || "")) Object.assign(row.dataset, own);
      show(row);
    }
  }

  function save() {
    try {
      localStorage.setItem(KEY, JSON.stringify(stored));
    } catch {
      say("The decision could not be stored in this browser: export the decisions before you close the page.");
    }
  }

  function show(row) {
    const chip = row.querySelector(".verdict");
    chip.textContent = row.dataset.verdict || "";
    chip.className = "verdict " + (row.dataset.verdict || "");
    row.querySelector(".note").textContent = row.dataset.note || "";
  }

  function decide(change) {
    if (!now) return;
    if (!now.dataset.sha256) return say("This case has no mask to decide about.");
    const { verdict = "", note = "" } = { ...now.dataset, ...change };
    const own = { verdict, note, who: stored.who, when: new Date().toISOString() };
    stored.masks[idOf(now)] = own;
    Object.assign(now.dataset, own);
    show(now);
    save();
    count();
  }

  const seen = () => rows.filter((row) => !row.hidden);

  function go(step) {
    const list = seen();
    if (!list.length) return;
    const at = list.indexOf(now);
    select(list[Math.min(Math.max(at + step, 0), list.length - 1)]);
  }

  function select(row) {
    if (now) now.classList.remove("now");
    now = row;
    row.classList.add("now");
    row.scrollIntoView({ block: "nearest" });
    name.textContent = row.dataset.case;
    note.value = row.dataset.note || "";
    say("");
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = choice.value;
    for (const row of rows) {
      const text = row.querySelector(".about").textContent.toLowerCase() + " " + (row.dataset.note || "").toLowerCase();
      const verdict = row.dataset.verdict || "";
      const fits = wanted === "all" || wanted === verdict || (wanted === "open" && !verdict) ||
        (wanted === "doubt" && row.dataset.doubt);
      row.hidden = !(fits && words.every((word) => text.includes(word)));
    }
    count();
    if (now && now.hidden && seen().length) select(seen()[0]);
  }

  function count() {
    const decided = rows.filter((row) => row.dataset.verdict).length;
    counter.textContent = `${seen().length} shown, ${decided} of ${rows.length} decided`;
  }

  // A spreadsheet calculates what begins with these; the apostrophe keeps it text.
  const cell = (text) => `"${(/^[=+\-@]/.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;

  function csv() {
    const lines = rows.filter((row) => row.dataset.verdict)
      .map((row) => COLUMNS.map((column) => cell(row.dataset[column] || "")).join(","));
    return [COLUMNS.join(","), ...lines, ""].join("\n");
  }

  function yaml() {
    const wrong = rows.filter((row) => ["review", "reject"].includes(row.dataset.verdict));
    return wrong.map((row) => "- " + ["case", "mask", "verdict", "note"]
      .map((column) => `${column}: ${JSON.stringify(row.dataset[column] || "")}`).join("\n  ")).join("\n") + "\n";
  }

  function download(text, file, type) {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  const say = (text) => { said.textContent = text; };
  const button = (text, key, action) =>
    make("button", { type: "button", onclick: action }, text, key ? make("kbd", {}, " " + key) : "");

  const search = make("input", { type: "search", placeholder: "Search names, reasons, notes", oninput: filter });
  const choice = make("select", { onchange: filter, ariaLabel: "Which cases" },
    ...[["all", "all cases"], ["open", "not decided"], ["doubt", "with a reason"], ["accept", "accept"],
      ["review", "review"], ["reject", "reject"]].map(([value, text]) => make("option", { value }, text)));
  const who = make("input", { placeholder: "Your name", onchange: () => { stored.who = who.value; save(); } });
  const counter = make("span");
  const name = make("span", { className: "name" });
  const note = make("textarea", { placeholder: "Note", onchange: () => decide({ note: note.value }) });
  const said = make("span", { className: "said" });
  tools.append(search, choice, who,
    button("Export decisions (CSV)", "", () => download(csv(), "decisions.csv", "text/csv")),
    button("Export cases to correct (YAML)", "", () => download(yaml(), "to_correct.yaml", "application/yaml")),
    counter);
  bar.append(name, button("Previous", "p", () => go(-1)), button("Next", "n", () => go(1)),
    ...Object.entries(VERDICTS).map(([key, verdict]) => button(verdict, key, () => decide({ verdict }))),
    note, said);
  tools.hidden = bar.hidden = false;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "n" || event.key === "j") go(1);
    else if (event.key === "p" || event.key === "k") go(-1);
    else if (VERDICTS[event.key]) decide({ verdict: VERDICTS[event.key] });
    else return;
    event.preventDefault();
  });
  rows.forEach((row) => row.addEventListener("click", () => select(row)));
  addEventListener("beforeprint", () => document.querySelectorAll("img").forEach((img) => { img.loading = "eager"; }));
  load();
  who.value = stored.who;
  select(rows[0]);
  count();
  scrollTo(0, 0);
})();

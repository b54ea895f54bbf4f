"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const VERDICTS = { a: "accept", r: "review", x: "reject", c: "" };
  const MODES = ["labels", "uncertainty", "nothing"];
  let cases = [];
  let now = null; // the case that is shown or loading
  let loading = Promise.resolve();
  let mode = "labels";
  let solid = false;
  const hidden = new Set();
  const canvas = new VolumeCanvas(showPlace);

  async function ask(path, words) {
    const options = words && {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(words),
    };
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("The viewer has ended: start itk_infer view again.");
    }
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  const say = (text) => { $("notes").textContent = text; };

  function showPlace(mm, values) {
    const sides = [["R", "L"], ["A", "P"], ["S", "I"]];
    const words = mm.map((value, axis) => `${sides[axis][value < 0 ? 1 : 0]} ${Math.abs(value).toFixed(1)}`);
    const value = values[canvas.parts.indexOf("labels")];
    const label = now && now.labels.find((item) => item.value === Math.round(value));
    $("place").textContent = `${words.join("  ")} mm${label ? "   " + label.name : ""}`;
  }

  function makeList() {
    $("list").replaceChildren(...cases.map((item) => {
      item.row = document.createElement("li");
      item.row.addEventListener("click", () => open(item));
      showRow(item);
      return item.row;
    }));
  }

  function showRow(item) {
    const small = document.createElement("small");
    const certainty = item.certainty === null ? "" : item.certainty.toFixed(3);
    small.textContent = [item.verdict, certainty, item.reason].filter(Boolean).join(" · ");
    item.row.replaceChildren(item.case, small);
  }

  const seen = () => cases.filter((item) => !item.row.hidden);

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = $("filter").value;
    for (const item of cases) {
      const text = [item.case, item.reason, item.note].join(" ").toLowerCase();
      const fits = wanted === "all" || wanted === item.verdict || (wanted === "open" && !item.verdict) ||
        (wanted === "doubt" && item.reason);
      item.row.hidden = !(fits && words.every((word) => text.includes(word)));
    }
    count();
  }

  function count() {
    const decided = cases.filter((item) => item.verdict).length;
    $("count").textContent = `${seen().length} shown, ${decided} of ${cases.length} decided`;
  }

  function go(step) {
    const list = seen();
    if (!list.length) return;
    const at = list.indexOf(now);
    open(list[Math.min(Math.max(at + step, 0), list.length - 1)]);
  }

  function open(item) {
    if (item === now) return;
    if (now) now.row.classList.remove("now");
    now = item;
    item.row.classList.add("now");
    item.row.scrollIntoView({ block: "nearest" });
    $("name").textContent = item.case;
    $("reason").textContent = item.reason;
    $("note").value = item.note;
    $("doubtful").hidden = !item.uncertainty;
    document.body.dataset.shown = "";
    showVerdict();
    makeLegend(item);
    say("Loading ...");
    // One after the other: of cases that were passed over quickly, only the last one is loaded.
    loading = loading.then(() => (item === now ? load(item) : null)).catch((error) => say(error.message));
  }

  async function load(item) {
    const about = await ask(`case/${item.id}`);
    const parts = [about.image && "image", "labels", item.uncertainty && "uncertainty"].filter(Boolean);
    await canvas.show(parts.map((name) => ({ name, url: `volume/${item.id}/${name}.nii` })));
    if (item !== now) return;
    canvas.color(item.labels, hidden);
    blend();
    if (about.target) canvas.moveTo(about.target.xyz);
    say(about.notes.join(" "));
    document.body.dataset.shown = item.id;
  }

  function blend() {
    const opacity = $("opacity").value / 100;
    canvas.setOpacity("labels", mode === "labels" ? opacity : 0);
    canvas.setOpacity("uncertainty", mode === "uncertainty" ? opacity : 0);
    $("overlay").firstChild.textContent = { labels: "Mask ", uncertainty: "Uncertainty ", nothing: "Image " }[mode];
  }

  function nextMode() {
    do mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
    while (mode === "uncertainty" && !(now && now.uncertainty));
    blend();
  }

  function makeLegend(item) {
    $("legend").replaceChildren(...item.labels.map((label) => {
      const row = document.createElement("li");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(label.value) });
      box.addEventListener("change", () => hide([label], !box.checked));
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", `rgb(${label.rgb.join()})`]]) {
        square.setAttribute(name, value);
      }
      swatch.append(square);
      const name = Object.assign(document.createElement("button"), { textContent: label.name, title: "Show its largest section" });
      name.addEventListener("click", () => jump(label.value));
      box.setAttribute("aria-label", label.name);
      const volume = document.createElement("small");
      volume.textContent = label.ml == null ? "" : `${Number(label.ml.toPrecision(4))} ml`;
      row.append(box, swatch, name, volume);
      return row;
    }));
  }

  function hide(labels, off) {
    for (const label of labels) hidden[off ? "add" : "delete"](label.value);
    canvas.color(now.labels, hidden);
  }

  function hideAll(off) {
    if (!now) return;
    hide(now.labels, off);
    makeLegend(now);
  }

  async function jump(what) {
    try {
      const target = await ask(`target/${now.id}/${what}`);
      if (target) canvas.moveTo(target.xyz);
      else say("There is no voxel of it.");
    } catch (error) {
      say(error.message);
    }
  }

  function showVerdict() {
    for (const button of document.querySelectorAll("[data-verdict]")) {
      button.classList.toggle("on", Boolean(button.dataset.verdict) && button.dataset.verdict === now.verdict);
    }
  }

  async function decide(verdict) {
    if (!now) return;
    const item = now;
    const words = { sha256: item.sha256, verdict, who: $("who").value, note: $("note").value };
    try {
      const answer = await ask(`review/${item.id}`, words);
      item.verdict = answer.verdict;
      item.note = verdict ? answer.note : "";
      showRow(item);
      if (item === now) {
        showVerdict();
        say(verdict ? "" : "The decision was removed.");
      }
      count();
    } catch (error) {
      say(`Not saved: ${error.message}`);
    }
  }

  function setOpacity(step) {
    $("opacity").value = Number($("opacity").value) + step;
    blend();
  }

  function toggleSolid() {
    solid = !solid;
    $("solid").classList.toggle("on", solid);
    canvas.setSolid(solid);
  }

  const KEYS = {
    n: () => go(1), p: () => go(-1), o: nextMode, d: () => now && now.uncertainty && jump("uncertainty"),
    3: toggleSolid, ArrowUp: () => setOpacity(10), ArrowDown: () => setOpacity(-10),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(TEXTAREA|SELECT)$/.test(event.target.tagName) ||
      (event.target.tagName === "INPUT" && !/^(checkbox|range)$/.test(event.target.type));
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key in VERDICTS) decide(VERDICTS[event.key]);
    else if (event.key in KEYS) KEYS[event.key]();
    else return;
    event.preventDefault();
  });
  $("previous").addEventListener("click", () => go(-1));
  $("next").addEventListener("click", () => go(1));
  $("overlay").addEventListener("click", nextMode);
  $("doubtful").addEventListener("click", () => jump("uncertainty"));
  $("solid").addEventListener("click", toggleSolid);
  $("all").addEventListener("click", () => hideAll(false));
  $("none").addEventListener("click", () => hideAll(true));
  $("opacity").addEventListener("input", blend);
  $("search").addEventListener("input", filter);
  $("filter").addEventListener("change", filter);
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.addEventListener("click", () => decide(button.dataset.verdict));
  }

  (async () => {
    try {
      await canvas.attach($("canvas"));
    } catch {
      say("This browser has no WebGL2, which the pictures need: use another one, or another machine.");
    }
    const document_ = await ask("cases");
    document.title = `${document_.folder.split("/").pop()}: itk_infer view`;
    cases = document_.cases;
    makeList();
    count();
    if (cases.length) open(cases[0]);
    else say("There is no mask in this folder.");
  })().catch((error) => say(error.message));
})();

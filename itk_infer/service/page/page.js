"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const LONGEST = 200; // characters of a name that the server takes
  const SHOWN = /\.(nii|nii\.gz|nrrd|mha)$/i; // what the canvas can read
  const AGAIN_MS = 1000;
  let models = [];
  let job = null; // that is followed or shown
  let image = null; // the file it was made of
  let maskUrl = "";
  const canvas = new VolumeCanvas(showPlace);

  const problem = (text) => { $("problem").textContent = text; };
  const state = (text) => { $("state").textContent = text; };
  const headers = () => ($("token").value ? { Authorization: `Bearer ${$("token").value}` } : {});
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  async function ask(path, options = {}) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
    } catch {
      throw new Error("The server does not answer.");
    }
    if (answer.status === 401) $("token-row").hidden = false;
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || `The server answers ${answer.status}.`);
    return answer;
  }

  // --- models ---

  async function loadModels() {
    try {
      models = await (await ask("v1/models")).json();
      problem("");
    } catch (error) {
      problem(error.message);
      return;
    }
    const before = $("model").value;
    $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
    if (models.some((model) => model.name === before)) $("model").value = before;
    showModel();
    if (models.some((model) => model.state === "loading")) setTimeout(loadModels, AGAIN_MS);
  }

  const model = () => models.find((item) => item.name === (job ? job.model : $("model").value));

  function showModel() {
    const about = models.find((item) => item.name === $("model").value);
    if (!about) return;
    const labels = (about.labels || []).filter((label) => label.value > 0).map((label) => label.name);
    $("about").textContent = about.state === "ready" ? `Finds ${labels.join(", ")}. Runs on ${about.device}.`
      : about.state === "failed" ? `It cannot be used: ${about.reason}` : "It is being loaded.";
  }

  // --- a job ---

  function upload(file) {
    return new Promise((done, fail) => {
      const request = new XMLHttpRequest(); // fetch says nothing of the progress of an upload
      const words = new URLSearchParams({ model: $("model").value, name: file.name.slice(-LONGEST), format: "nii.gz" });
      request.open("POST", `v1/jobs?${words}`);
      for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = (event) => {
        $("progress").value = event.loaded / event.total;
        state(`Sending: ${Math.round(100 * event.loaded / event.total)} %`);
      };
      request.onload = () => (request.status === 202 ? done(request.response)
        : fail(new Error((request.response && request.response.detail) || `The server answers ${request.status}.`)));
      request.onerror = () => fail(new Error("The connection broke."));
      request.send(file);
    });
  }

  // The events of a job from its stream, continued where the connection breaks.
  async function* events(id) {
    let after = "0";
    for (;;) {
      try {
        const answer = await ask(`v1/jobs/${id}/events`, { headers: { "Last-Event-ID": after } });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let text = ""; ;) {
          const { value, done } = await reader.read();
          if (done) break;
          const blocks = (text + value).split("\n\n");
          text = blocks.pop();
          for (const block of blocks) {
            const fields = Object.fromEntries(block.split("\n").map((line) => [line.split(": ")[0], line.slice(line.indexOf(": ") + 2)]));
            if (fields.id) after = fields.id;
            if (fields.event) yield [fields.event, JSON.parse(fields.data)];
            if (fields.event === "end") return;
          }
        }
      } catch (error) {
        if (!/does not answer|network|reset/i.test(error.message)) throw error;
        state("The server does not answer; trying again");
      }
      await wait(AGAIN_MS);
    }
  }

  async function run(file) {
    if (!models.length) return;
    problem("");
    image = file;
    job = null;
    $("result").hidden = true;
    $("job").hidden = false;
    $("cancel").hidden = true;
    $("progress").value = 0;
    document.body.dataset.shown = "";
    $("name").textContent = file.name;
    try {
      job = await upload(file);
      $("cancel").hidden = false;
      for await (const [name, event] of events(job.id)) {
        if (name === "state" || name === "end") job = event;
        showEvent(name, event);
      }
      $("job").hidden = true;
      if (job.state === "done") await showResult();
      else problem(job.state === "cancelled" ? "The job was cancelled." : job.reason);
    } catch (error) {
      $("job").hidden = true;
      problem(error.message);
    }
  }

  function showEvent(name, event) {
    if (name === "state" && event.state === "waiting") {
      const eta = event.eta_s === null ? "" : `, about ${Math.ceil(event.eta_s)} s`;
      $("progress").removeAttribute("value");
      state(`Waiting, place ${event.position}${eta}`);
    } else if (name === "state") {
      $("progress").removeAttribute("value");
      state("Loading the image");
    } else if (name === "case_started") {
      $("progress").value = 0;
      state("Segmenting");
    } else if (name === "progress") {
      $("progress").value = event.done / event.total;
      state(`Segmenting: ${event.done} of ${event.total} windows${event.eta_s ? `, ${Math.ceil(event.eta_s)} s left` : ""}`);
    }
  }

  // --- the result ---

  async function showResult() {
    const blob = await (await ask(job.files.mask.url.slice(1))).blob();
    if (maskUrl) URL.revokeObjectURL(maskUrl);
    maskUrl = URL.createObjectURL(blob);
    const link = $("download");
    link.href = maskUrl;
    link.download = `${image.name.replace(/\.(nii\.gz|[^.]*)$/i, "")}_mask.nii.gz`;
    const findings = Object.fromEntries(job.findings.map((item) => [item.value, item]));
    const labels = ((model() || {}).labels || []).filter((label) => label.value > 0);
    $("confidence").textContent = job.confidence === null ? "" : `Mean confidence ${job.confidence.toFixed(3)}`;
    const notes = [...job.warnings];
    const shown = SHOWN.test(image.name);
    if (!shown) notes.push("The image itself cannot be shown here; this is its label map alone.");
    $("warnings").replaceChildren(...notes.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    const colours = labels.map((label) => ({ value: label.value, name: label.name, rgb: rgbOf(label.color) }));
    $("legend").replaceChildren(...colours.map((label) => legendRow(label, findings[label.value])));
    $("result").hidden = false;
    const imageUrl = shown ? URL.createObjectURL(image) : "";
    const parts = [{ name: "labels", url: maskUrl, file: "mask.nii.gz" }];
    if (shown) parts.unshift({ name: "image", url: imageUrl, file: image.name });
    await canvas.show(parts);
    if (imageUrl) URL.revokeObjectURL(imageUrl);
    canvas.color(colours, new Set());
    canvas.setOpacity("labels", $("opacity").value / 100);
    canvas.moveToLabels();
    document.body.dataset.shown = job.id;
  }

  const rgbOf = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

  function legendRow(label, finding) {
    const row = document.createElement("li");
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", `rgb(${label.rgb.join()})`]]) {
      square.setAttribute(name, value);
    }
    swatch.append(square);
    const name = Object.assign(document.createElement("span"), { textContent: label.name });
    const volume = document.createElement("small");
    volume.textContent = finding ? `${Number(finding.volume_ml.toPrecision(4))} ml` : "";
    row.append(swatch, name, volume);
    return row;
  }

  function showPlace(mm, values) {
    const sides = [["R", "L"], ["A", "P"], ["S", "I"]];
    const words = mm.map((value, axis) => `${sides[axis][value < 0 ? 1 : 0]} ${Math.abs(value).toFixed(1)}`);
    const value = values[canvas.parts.indexOf("labels")];
    const label = ((model() || {}).labels || []).find((item) => item.value > 0 && item.value === Math.round(value));
    $("place").textContent = `${words.join("  ")} mm${label ? "   " + label.name : ""}`;
  }

  async function remove() {
    try {
      await ask(`v1/jobs/${job.id}`, { method: "DELETE" });
      if (!$("result").hidden) $("delete").hidden = true;
    } catch (error) {
      problem(error.message);
    }
  }

  // --- what a person does ---

  const take = (files) => {
    if (!files.length) return;
    if (!$("job").hidden) problem("Wait until the job has ended, or cancel it.");
    else run(files[0]);
  };
  $("file").addEventListener("change", () => { take($("file").files); $("file").value = ""; });
  $("drop").addEventListener("keydown", (event) => { if (event.key === "Enter") $("file").click(); });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files);
    });
  }
  $("model").addEventListener("change", showModel);
  $("token").addEventListener("change", loadModels);
  $("cancel").addEventListener("click", remove);
  $("delete").addEventListener("click", remove);
  $("opacity").addEventListener("input", () => canvas.setOpacity("labels", $("opacity").value / 100));

  canvas.attach($("canvas")).catch(() => {
    problem("This browser has no WebGL2, which the pictures need; label maps can be saved all the same.");
  });
  loadModels();
})();

// The page to play in: what is typed goes to the service, its rows come back; view.js does the rest.
(() => {
  const at = (id) => document.getElementById(id);
  const text = at("text"), texts = at("texts"), status = at("status"), xray = at("xray"), key = at("key");
  const sure = document.body.dataset.confidence ? { options: { min_confidence: 0 } } : {};
  let underWay = null, waiting = 0, looking = null, counted = "";

  // One request at a time: a newer one ends the one before it, also in the service.
  async function post(path, body, signal) {
    const headers = { "Content-Type": "application/json" };
    if (key.value) headers["X-API-Key"] = key.value;
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    const error = new Error(problem.detail || problem.title || `status ${answer.status}`);
    error.retry_s = Number(answer.headers.get("Retry-After")) || 0;
    throw error;
  }

  function tell(message, isProblem = false) {
    status.textContent = message;
    status.classList.toggle("problem", isProblem);
  }

  async function annotate() {
    clearTimeout(waiting);
    underWay?.abort();
    const mine = underWay = new AbortController();
    try {
      const began = performance.now();
      const html = await (await post("/v1/view", { text: text.value, ...sure }, mine.signal)).text();
      texts.innerHTML = html;
      xray.hidden = true;
      view.refresh();
      const n = texts.querySelectorAll("mark[id]").length;
      counted = `${n} name${n === 1 ? "" : "s"}, ${Math.round(performance.now() - began)} ms`;
      tell(counted);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.retry_s) {
        tell(`The service is busy: ${error.message}. Trying again in ${error.retry_s} s.`, true);
        waiting = setTimeout(annotate, 1000 * error.retry_s);
        return;
      }
      texts.replaceChildren();  // the names of another text must not stand under this one
      xray.hidden = true;
      view.refresh();
      tell(error instanceof TypeError ? "The service does not answer." : error.message, true);
    }
  }

  text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(annotate, 200); });

  at("export").addEventListener("click", async () => {
    try {
      const blob = await (await post("/v1/view?whole=true", { text: text.value, ...sure })).blob();
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = "names.html";
      link.click();
      URL.revokeObjectURL(link.href);
      tell("Saved as names.html.");
    } catch (error) { tell(error.message, true); }
  });

  // ---- the X-ray

  texts.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row && !event.target.closest("mark") && String(getSelection()) === "") look(row);
  });

  // The sentence that is looked through, if any.
  function mark(row) {
    for (const other of texts.querySelectorAll(".row")) {
      other.classList.toggle("looked", other === row);
      other.querySelector(".look").setAttribute("aria-expanded", other === row);
    }
  }

  function close() {
    const button = texts.querySelector(".looked .look");
    xray.hidden = true;
    mark(null);
    button?.focus();
  }

  xray.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });

  async function look(row) {
    looking?.abort();
    looking = new AbortController();
    mark(row);
    tell("Looking …");
    try {
      const seen = await (await post("/v1/xray", { text: row.dataset.text.trim() }, looking.signal)).json();
      show(seen);
      tell(counted);
      xray.focus();
    } catch (error) { if (error.name !== "AbortError") tell(error.message, true); }
  }

  // Everything from a text goes into text nodes: nothing of it is ever markup.
  function element(name, properties = {}, ...children) {
    const made = document.createElement(name);
    for (const [property, value] of Object.entries(properties))
      property in made ? made[property] = value : made.setAttribute(property, value);
    made.append(...children);
    return made;
  }
  const percent = (share) => (share < 0.001 ? "< 0.1 %" : share > 0.999 && share < 1 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`);
  const code = (written) => element("code", {}, written.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`));
  const cell = (...children) => element("td", {}, ...children);

  function decision(seen) {
    const others = seen.others.map((other) => element("span", { className: "other" }, code(other.text), ` ${percent(other.share)}`));
    const more = seen.n_legal - 1 - seen.others.length;
    const wanted = seen.wanted
      ? [code(seen.wanted.text), ` ${percent(seen.wanted.probability)}: overruled`]
      : ["the same"];
    if (!seen.wanted && seen.others.some((other) => other.probability > seen.written.probability)) wanted[0] = "another legal one";
    const row = element("tr", {}, cell(seen.number === null ? "–" : String(seen.number)), element("th", { scope: "row" }, code(seen.written.text), ` ${seen.written.does}`),
      cell(element("span", { className: "share" }, element("meter", { min: 0, max: 1, value: seen.written.share, ariaHidden: "true" }),
        ` ${percent(seen.written.share)}`)),
      cell(...others, more > 0 ? `and ${more} more` : seen.n_legal === 1 ? "nothing" : ""), cell(...wanted), cell(percent(seen.legal_mass)));
    if (seen.wanted) row.className = "overruled";
    return row;
  }

  function show(seen) {
    const heads = ["pass", "written", "how sure", "also legal", "the model wanted", "legal share"];
    const table = element("table", {},
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...seen.decisions.map(decision)));
    const nOverruled = seen.decisions.filter((one) => one.wanted).length;
    const nTokens = seen.passes.reduce((sum, pass) => sum + pass.n_tokens, 0);
    const nDecisions = seen.decisions.filter((one) => one.number !== null).length;
    const plain = `${nDecisions} decisions in ${seen.passes.length} passes over ${nTokens} tokens; the grammar overruled the model ${nOverruled === 1 ? "once" : `${nOverruled} times`}.`;
    const drafts = seen.passes.map((pass, n) => `pass ${n + 1}: ${pass.n_drafted} decisions drafted, ${pass.n_right} kept`).join("; ");
    const edits = seen.free.edits.map(([kind, part]) => kind === "same" ? part : element(kind === "lost" ? "del" : "ins", { title: kind }, part));
    const lost = [...seen.free.problems, ...seen.free.mentions.filter((m) => m.provenance !== "exact" && m.provenance !== "constrained")
      .map((m) => `${m.text} (${m.type}): its place is a guess (${m.provenance})`)];
    const verdict = seen.free.verbatim ? "Every character is that of the sentence." :
      "Characters were changed: those struck out are lost, those underlined were added.";
    xray.replaceChildren(
      element("div", { className: "title" }, element("h2", { id: "xray-title" }, "X-ray"),
        element("button", { type: "button", id: "close", onclick: close }, "Close")),
      element("p", {}, plain), element("p", { className: "soft" }, drafts),
      element("div", { className: "both" },
        element("div", {}, element("h3", {}, "With the grammar"), element("p", { className: "answer" }, seen.answer),
          element("p", { className: "soft" }, "Offsets are exact: the answer can only be the sentence and tags.")),
        element("div", {}, element("h3", {}, "Without it"), element("p", { className: "answer" }, seen.free.written),
          element("p", { className: "answer" }, ...edits), element("p", { className: "soft" }, verdict + (seen.free.finished ? "" : " It did not come to an end.")),
          ...(lost.length ? [element("ul", {}, ...lost.map((problem) => element("li", {}, problem)))] : []))),
      element("h3", {}, "Decision by decision"),
      element("div", { className: "scrolling", tabIndex: 0, role: "region", ariaLabel: "Decisions" }, table));
    xray.hidden = false;
  }

  if (at("least")) { at("least").value = 40; }
  annotate();
})();

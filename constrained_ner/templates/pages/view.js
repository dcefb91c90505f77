"use strict";
// What the controls of a page do with its marks. viewOf(document) starts it; refresh() reads the marks again
// after the texts have changed. A mark that is filtered out stays in the text, as plain text (class "off").
function viewOf(page) {
  const at = (id) => page.getElementById(id);
  const texts = at("texts"), tip = at("details"), least = at("least"), query = at("query");
  let marks = [], rows = [], errors = [], current = null, oneName = null, searched = "";

  function refresh() {
    const byNumber = new Map();
    rows = [...texts.querySelectorAll(".row")].map((element) => ({
      element, section: element.parentElement, differs: element.classList.contains("differs"), shown: true, nodes: null, words: null }));
    for (const row of rows) {
      const sides = [...row.element.querySelectorAll(".names")];
      for (const piece of row.element.querySelectorAll("mark[data-m]")) {
        const known = byNumber.get(piece.dataset.m);
        if (known) { known.pieces.push(piece); continue; }
        byNumber.set(piece.dataset.m, {
          pieces: [piece], row, side: sides.indexOf(piece.closest(".names")), shown: true, type: /\bt(\d+)/.exec(piece.className)[1], verdict: piece.dataset.v || "",
          sure: "c" in piece.dataset ? Number(piece.dataset.c) : Infinity, name: piece.dataset.n });
      }
    }
    marks = [...byNumber.values()];
    marks.forEach((mark, index) => { mark.index = index; });
    errors = [...page.querySelectorAll(".errors li")].map((element) => ({ element, mark: byNumber.get(element.dataset.of) }));
    update();
  }

  // ---- what is shown

  const unticked = (kind) => new Set([...page.querySelectorAll(`[data-${kind}]:not(:checked)`)].map((box) => box.dataset[kind]));

  function update() {
    const bound = least ? least.value / 100 : 0;
    const noTypes = unticked("type"), noVerdicts = unticked("verdict");
    const counts = new Map(), named = new Set();
    const count = (key) => counts.set(key, (counts.get(key) || 0) + 1);
    const right = [0, 0], found = [0, 0];
    for (const mark of marks) {
      const typed = !noTypes.has(mark.type), sure = mark.sure >= bound;
      const shown = typed && sure && !noVerdicts.has(mark.verdict);
      if (shown !== mark.shown) {
        mark.shown = shown;
        for (const piece of mark.pieces) piece.classList.toggle("off", !shown);
      }
      if (sure) { count("type:" + mark.type); count("verdict:" + mark.verdict); }
      else if (mark.verdict && mark.verdict !== "spurious" && texts.dataset.gold) count("verdict:missed");  // its gold is
      if (shown) named.add(mark.row);
      if (typed && sure && mark.verdict !== "missed") { found[mark.side] += 1; right[mark.side] += mark.verdict === "right"; }
    }
    const onlyNamed = at("named")?.checked, onlyDiffering = at("differing")?.checked;
    const sections = new Map();
    let nRows = 0;
    for (const row of rows) {
      const shown = (!onlyNamed || named.has(row)) && (!onlyDiffering || row.differs) && (!searched || wordsOf(row).includes(searched));
      if (shown !== row.shown) { row.shown = shown; row.element.hidden = !shown; }
      nRows += shown;
      sections.set(row.section, sections.get(row.section) || shown);
    }
    for (const [section, shown] of sections) if (section.hidden === shown) section.hidden = !shown;
    for (const { element, mark } of errors) {
      const shown = mark !== undefined && mark.shown && mark.row.shown;
      if (element.hidden === shown) element.hidden = !shown;
    }
    for (const output of page.querySelectorAll("[data-count]")) output.value = (counts.get(output.dataset.count) || 0).toLocaleString("en");
    if (least) at("least-shown").value = `${least.value} %`;
    at("nothing").hidden = nRows > 0 || !rows.length;
    at("found").value = searched ? `${nRows.toLocaleString("en")} sentence${nRows === 1 ? "" : "s"}` : "";
    tellScores(right, found, noTypes);
    tellPlace();
  }

  function tellScores(right, found, noTypes) {
    if (!at("scores")) return;
    const names = [...page.querySelectorAll(".heads span")].map((head) => `${head.textContent}: `);
    const all = Object.entries(JSON.parse(texts.dataset.gold)).reduce((sum, [type, n]) => sum + (noTypes.has(type) ? 0 : n), 0);
    const gold = all / (names.length || 1);  // each output is compared with all of it
    const share = (part, whole) => (whole ? (100 * part / whole).toFixed(1) : "–");
    const line = (n) => `${names[n] ?? ""}P ${share(right[n], found[n])}  R ${share(right[n], gold)}  F1 ${share(2 * right[n], found[n] + gold)}`;
    at("scores").value = names.length ? names.map((_, n) => line(n)).join("\n") : line(0);
  }

  // ---- search

  // The words of a sentence as they are in the text: labels of types are not of it.
  function nodesOf(row) {
    if (row.nodes) return row.nodes;
    row.nodes = [];
    for (const text of row.element.querySelectorAll(".names")) {
      const walker = page.createTreeWalker(text, NodeFilter.SHOW_TEXT);
      const found = [];
      while (walker.nextNode()) if (walker.currentNode.parentNode.localName !== "small") found.push(walker.currentNode);
      row.nodes.push(found);
    }
    return row.nodes;
  }

  function wordsOf(row) {
    row.words ??= nodesOf(row).length ? nodesOf(row)[0].map((node) => node.data).join("").toLowerCase() : "";
    return row.words;
  }

  function search() {
    searched = query.value.toLowerCase();
    update();
    if (!CSS.highlights) return;
    const ranges = [];
    for (const row of rows) if (searched && row.shown && ranges.length < 2000) for (const nodes of nodesOf(row)) ranges.push(...rangesOf(nodes));
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  function rangesOf(nodes) {
    const words = nodes.map((node) => node.data).join("").toLowerCase(), ranges = [];
    const place = (offset) => {
      for (const node of nodes) { if (offset <= node.length) return [node, offset]; offset -= node.length; }
      return null;  // small letters may be longer than capitals
    };
    for (let start = words.indexOf(searched); start >= 0; start = words.indexOf(searched, start + searched.length)) {
      const from = place(start), to = place(start + searched.length);
      if (!from || !to) break;
      const range = page.createRange();
      range.setStart(...from); range.setEnd(...to);
      ranges.push(range);
    }
    return ranges;
  }

  // ---- from name to name

  const reachable = () => marks.filter((mark) => mark.shown && mark.row.shown && (oneName === null || mark.name === oneName));

  function go(step) {
    const places = reachable();
    if (!places.length) return tellPlace();
    const here = current === null ? -1 : current.index;
    let n = places.indexOf(current);
    if (n >= 0) n = (n + step + places.length) % places.length;
    else if (step > 0) n = Math.max(0, places.findIndex((mark) => mark.index > here));
    else n = (places.findLastIndex((mark) => mark.index < here) + places.length) % places.length;
    goTo(places[n]);
  }

  function goTo(mark) {
    const [piece] = mark.pieces;
    if (current) { current.pieces[0].tabIndex = -1; for (const old of current.pieces) old.classList.remove("current"); }
    current = mark;
    for (const part of mark.pieces) part.classList.add("current");
    piece.tabIndex = 0;
    // Sentences that were never on the screen have an estimated height: look again when they have been laid out.
    const look = () => piece.scrollIntoView({ block: "center", behavior: "instant" });
    look();
    piece.focus({ preventScroll: true });
    requestAnimationFrame(() => requestAnimationFrame(look));
    tellPlace();
  }

  function tellPlace() {
    const places = reachable(), n = places.indexOf(current);
    const format = (count) => count.toLocaleString("en");
    at("place").value = n >= 0 ? `${format(n + 1)} of ${format(places.length)}` : `${format(places.length)} name${places.length === 1 ? "" : "s"}`;
    const button = at("one-name");
    button.hidden = oneName === null;
  }

  function only(name, called) {
    oneName = name;
    at("one-name").textContent = name === null ? "" : `${called} ×`;
    at("one-name").setAttribute("aria-label", name === null ? "" : `Only ${called}: show all names again`);
    for (const mark of marks) for (const piece of mark.pieces) piece.classList.toggle("same", name !== null && mark.name === name);
  }

  function follow(link) {
    const number = link.getAttribute("href").slice(2);
    const mark = marks.find(({ pieces }) => pieces[0].dataset.m === number);
    if (!mark) return;
    if ("name" in link.dataset) {
      const again = oneName === link.dataset.name;
      only(link.dataset.name, link.textContent);
      return again || !reachable().includes(mark) ? go(1) : goTo(mark);
    }
    only(null);
    goTo(mark);
  }

  // ---- what is known of a name

  let told = null;

  function tell(piece) {
    if (piece.title) { piece.dataset.details = piece.title; piece.removeAttribute("title"); }
    tip.textContent = piece.dataset.details;
    tip.hidden = false;
    if (told && told !== piece) told.removeAttribute("aria-describedby");
    told = piece;
    piece.setAttribute("aria-describedby", "details");
    const [box] = piece.getClientRects(), width = tip.offsetWidth, height = tip.offsetHeight;
    const above = box.bottom + height + 8 > innerHeight;
    tip.style.left = `${Math.max(8, Math.min(box.left, page.documentElement.clientWidth - width - 8))}px`;
    tip.style.top = `${above ? Math.max(8, box.top - height) : box.bottom}px`;
  }

  function untell() {
    tip.hidden = true;
    told?.removeAttribute("aria-describedby");
    told = null;
  }

  const markAt = (target) => (target.closest ? target.closest("#texts mark[data-m]:not(.off)") : null);
  texts.addEventListener("pointerover", (event) => { const piece = markAt(event.target); if (piece) tell(piece); });
  texts.addEventListener("pointerout", (event) => { if (event.relatedTarget !== tip) untell(); });
  tip.addEventListener("pointerleave", untell);
  texts.addEventListener("focusin", (event) => { const piece = markAt(event.target); if (piece) tell(piece); });
  texts.addEventListener("focusout", untell);
  addEventListener("scroll", () => { const piece = markAt(page.activeElement); if (!tip.hidden) { if (piece) tell(piece); else untell(); } }, { passive: true });
  texts.addEventListener("click", (event) => {
    const piece = markAt(event.target);
    const mark = piece && marks.find(({ pieces }) => pieces[0].dataset.m === piece.dataset.m);
    if (mark && String(getSelection()) === "") goTo(mark);
  });

  // ---- controls

  let asked = 0;
  const soon = () => { cancelAnimationFrame(asked); asked = requestAnimationFrame(update); };
  least?.addEventListener("input", soon);
  at("controls").addEventListener("change", (event) => { if (event.target.type === "checkbox") update(); });
  let waiting = 0;
  query.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
  query.addEventListener("keydown", (event) => { if (event.key === "Enter") { clearTimeout(waiting); search(); go(1); } });
  at("next").addEventListener("click", () => go(1));
  at("previous").addEventListener("click", () => go(-1));
  at("one-name").addEventListener("click", () => { only(null); tellPlace(); at("next").focus(); });
  at("controls").addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#m']");
    if (link) { event.preventDefault(); follow(link); }
  });
  const keys = { ArrowRight: 1, ArrowDown: 1, n: 1, j: 1, ArrowLeft: -1, ArrowUp: -1, p: -1, k: -1 };
  texts.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault();
    go(keys[event.key]);
  });
  addEventListener("keydown", (event) => { if (event.key === "Escape") untell(); });

  page.body.classList.add("scripted");
  if (matchMedia("(max-width: 60rem)").matches) for (const part of page.querySelectorAll("#controls details")) part.open = false;
  refresh();
  const first = reachable()[0];
  if (first) first.pieces[0].tabIndex = 0;
  return { refresh, go };
}
const view = viewOf(document);

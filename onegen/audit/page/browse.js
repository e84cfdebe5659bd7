// The page of `onegen browse`: asks its own server, shows answers as text, and never as markup.
"use strict";
(function () {
  const at = (id) => document.getElementById(id);
  const state = { about: null, rows: [], total: 0, page: 0, place: 0, near: null, open: -1 };
  let marks = new Set(), asked = 0, barsAsked = 0, bars = [];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function made(tag, text, attributes = {}) {
    const element = document.createElement(tag);
    if (text !== undefined && text !== null) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  async function ask(name, question = {}) {
    const response = await fetch(`${name}?${new URLSearchParams(question)}`);
    if (!(response.headers.get("Content-Type") || "").startsWith("application/json")) throw new Error(await response.text());
    const answer = await response.json();
    if (answer.error) throw new Error(answer.error);
    return answer;
  }

  function wrong(error) {
    at("wrong").textContent = error instanceof TypeError ? "onegen browse does not answer any more: start it again." : error.message;
  }

  function number(value) { return typeof value === "number" ? Number(value.toPrecision(6)).toLocaleString("en") : String(value); }

  // --- Samples
  async function show(page, focus) {
    const mine = ++asked, question = { where: at("where").value, sort: at("sort").value, order: at("descending").checked ? "descending" : "ascending", page };
    document.body.dataset.state = "asking";
    try {
      const answer = state.near ? await ask("neighbours", state.near) : await ask("samples", question);
      if (mine !== asked) return;
      at("wrong").textContent = "";
      Object.assign(state, { rows: answer.rows, total: answer.total, page: state.near ? 0 : page, place: 0 });
      if (!state.near) history.replaceState(null, "", `#${new URLSearchParams(question)}`);
      draw();
      if (focus) step(0);
    } catch (error) { if (mine === asked) wrong(error); }
    if (mine === asked) document.body.dataset.state = "ready";
  }

  function draw() {
    const grid = at("grid"), last = Math.max(1, Math.ceil(state.total / state.about.page)), sort = at("sort").value;
    grid.replaceChildren(...state.rows.map((row, place) => {
      const card = made("div", null, { role: "option", tabindex: place ? -1 : 0, "aria-selected": marks.has(row.key) });
      const value = row.value === null || row.value === undefined ? null : `${state.near ? "likeness" : sort} ${number(row.value)}`;
      const told = [row.key, row.item, `${row.width} × ${row.height}`, value, row.caption].filter(Boolean);
      card.setAttribute("aria-label", told.join(", ").slice(0, 300));
      card.append(made("img", null, { alt: "", loading: "lazy", src: `thumbnail?shard=${row.shard}&position=${row.position}` }));
      card.append(...[row.key, value || `${row.width} × ${row.height}`, row.caption || row.item].map((line) => made("p", line, { title: line })));
      card.addEventListener("click", () => { state.place = place; step(0); open(place); });
      return card;
    }));
    if (!state.rows.length) grid.append(made("p", "No sample is like that."));
    at("told").textContent = state.near ? `${state.total.toLocaleString("en")} samples nearest to ${state.rows.length ? state.rows[0].key : ""}, by ${state.about.embedding}`
      : `${state.total.toLocaleString("en")} samples`;
    at("page").textContent = `Page ${(state.page + 1).toLocaleString("en")} of ${last.toLocaleString("en")}`;
    at("before").disabled = state.page === 0;
    at("after").disabled = state.near !== null || state.page + 1 >= last;
    count();
  }

  function cards() { return at("grid").querySelectorAll("[role=option]"); }

  function step(by) {
    const all = cards();
    if (!all.length) return;
    const to = Math.min(all.length - 1, Math.max(0, state.place + by));
    all.forEach((card, place) => card.setAttribute("tabindex", place === to ? 0 : -1));
    state.place = to;
    all[to].focus();
  }

  function across() {
    const all = [...cards()];
    return all.filter((card) => card.offsetTop === all[0].offsetTop).length;
  }

  // --- Marks
  function store() { return `onegen ${state.about.url} ${state.about.version}`; }

  function mark(place) {
    const key = state.rows[place].key;
    if (!marks.delete(key)) marks.add(key);
    count();
  }

  function count() {
    cards().forEach((card, place) => card.setAttribute("aria-selected", marks.has(state.rows[place].key)));
    at("count").textContent = marks.size.toLocaleString("en");
    at("save").disabled = at("unmark").disabled = marks.size === 0;
    if (state.open >= 0) {
      const is = marks.has(state.rows[state.open].key);
      at("sample-mark").textContent = is ? "Marked" : "Mark";
      at("sample-mark").setAttribute("aria-pressed", is);
    }
    try { localStorage.setItem(store(), JSON.stringify([...marks])); } catch { /* the list is kept as long as the page */ }
  }

  function save() {
    const link = made("a", null, { download: "keys.txt", href: URL.createObjectURL(new Blob([[...marks].join("\n") + "\n"], { type: "text/plain" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // --- One sample
  async function open(place) {
    const row = state.rows[place];
    if (!row) return;
    try {
      fill(await ask("sample", { shard: row.shard, position: row.position }));
      state.open = place;
      count();
    } catch (error) { at("sample").close(); wrong(error); }
  }

  function fill(sample) {
    at("wrong").textContent = "";
    at("sample-title").textContent = sample.key;
    at("tiles").replaceChildren(...sample.tiles.map((row) => {
      const line = made("div", null, { class: "row" });
      line.append(...row.map((tile) => {
        const figure = made("figure"), caption = made("figcaption");
        caption.append(made("b", tile.label));
        if (tile.picture) figure.append(made("img", null, { src: tile.picture, alt: `${tile.label} of sample ${sample.key}` }));
        if (tile.lines.some((words) => words.length > 1)) {
          const table = made("table");
          for (const words of tile.lines) {
            const entry = made("tr");
            entry.append(...words.map((word, n) => made(n ? "td" : "th", word, n ? {} : { scope: "row" })));
            table.append(entry);
          }
          caption.append(table);
        } else for (const words of tile.lines) caption.append(made("br"), words[0]);
        figure.append(caption);
        return figure;
      }));
      return line;
    }));
    at("near").disabled = !state.about.embedding;
    at("sample").dataset.shard = sample.shard;
    at("sample").dataset.position = sample.position;
    if (!at("sample").open) at("sample").showModal();
  }

  async function find() {
    try {
      const sample = await ask("find", { key: at("key").value });
      // What was looked for may lie on another page: it is shown alone.
      state.near = null;
      Object.assign(state, { rows: [sample], total: 1, page: 0, place: 0 });
      draw();
      fill(sample);
      state.open = 0;
      count();
    } catch (error) { wrong(error); }
  }

  function near() {
    state.near = { shard: at("sample").dataset.shard, position: at("sample").dataset.position };
    at("sample").close();
    show(0, true);
  }

  // --- Bars
  async function spread() {
    const mine = ++barsAsked;
    try {
      const answer = await ask("bars", { where: at("where").value, field: at("field").value });
      if (mine !== barsAsked) return;
      bars = answer.bars;
      await plot(answer.field);
      at("bars").replaceChildren(...bars.filter((bar) => bar.count).map((bar) => {
        const row = made("tr"), button = made("button", "Show", { type: "button", "aria-label": `Show ${bar.label}` });
        button.addEventListener("click", () => narrow(bar));
        row.append(made("td", bar.label), made("td", bar.count.toLocaleString("en"), { class: "n" }), made("td"));
        row.lastChild.append(button);
        return row;
      }));
      at("plot").setAttribute("aria-label", `${bars.length} bars of ${answer.field}; the table below has the numbers.`);
      at("plot").dataset.field = answer.field;
    } catch (error) { if (mine === barsAsked) { wrong(error); } }
    document.body.dataset.bars = mine;
  }

  // Plotly draws a little HTML: text of the dataset must hold none.
  function plain(text) { return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"); }

  async function plot(field) {
    const ink = dark.matches ? "#ececf0" : "#1d1d1f", rule = dark.matches ? "#3d4249" : "#dcdfe3";
    const isText = bars.length > 0 && bars[0].left === undefined, places = bars.map((_, n) => n);
    const short = (text) => plain(text.length > 24 ? `${text.slice(0, 23)}…` : text);
    const trace = { type: "bar", x: isText ? places : bars.map((bar) => (bar.left + bar.right) / 2), y: bars.map((bar) => bar.count),
      width: isText ? undefined : bars.map((bar) => bar.right - bar.left || 1), marker: { color: "#4c84cf" },
      text: bars.map((bar) => plain(bar.label)), textposition: "none", hovertemplate: "%{text}: %{y}<extra></extra>" };
    const axis = isText ? { tickvals: places, ticktext: bars.map((bar) => short(bar.label)), automargin: true } : { title: { text: plain(field) } };
    await Plotly.react("plot", [trace], { margin: { l: 60, r: 12, t: 8, b: 44 }, bargap: 0.04, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { size: 12, color: ink }, xaxis: { ...axis, gridcolor: rule, fixedrange: true }, yaxis: { title: { text: "samples" }, gridcolor: rule, fixedrange: true } },
    { displayModeBar: false, responsive: true });
    if (!plot.isHeard) at("plot").on("plotly_click", (event) => narrow(bars[event.points[0].pointNumber]));
    plot.isHeard = true;
  }

  function narrow(bar) {
    const there = at("where").value.trim();
    if (/^(select|with|from)\b/i.test(there)) { wrong(new Error("bars narrow an expression, not a SELECT: write the filter as an expression first.")); return; }
    at("where").value = there ? `(${there}) AND ${bar.where}` : bar.where;
    again();
  }

  function again() { state.near = null; show(0); spread(); }

  // --- Keys
  const moves = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -across(), ArrowDown: () => across(), Home: () => -state.rows.length, End: () => state.rows.length };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const isOpen = at("sample").open, key = event.key;
    if (isOpen) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (by && state.rows[state.open + by]) { state.place = state.open + by; open(state.place); }
      else if (key === "m") mark(state.open);
      else return;
    } else if (key === "/") at("where").focus();
    else if (key === "n" && !at("after").disabled) show(state.page + 1, true);
    else if (key === "p" && !at("before").disabled) show(state.page - 1, true);
    else if (!event.target.matches("[role=option]")) return;
    else if (moves[key]) step(moves[key]());
    else if (key === "Enter") open(state.place);
    else if (key === "m" || key === " ") mark(state.place);
    else return;
    event.preventDefault();
  });

  // --- Controls
  at("asking").addEventListener("submit", (event) => { event.preventDefault(); again(); });
  at("key").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); find(); } });
  at("go").addEventListener("click", find);
  at("all").addEventListener("click", () => { at("where").value = ""; again(); });
  at("sort").addEventListener("change", () => { state.near = null; show(0); });
  at("descending").addEventListener("change", () => { state.near = null; show(0); });
  at("field").addEventListener("change", spread);
  at("before").addEventListener("click", () => show(state.page - 1, true));
  at("after").addEventListener("click", () => show(state.page + 1, true));
  at("mark-page").addEventListener("click", () => { for (const row of state.rows) marks.add(row.key); count(); });
  at("unmark").addEventListener("click", () => { marks = new Set(); count(); });
  at("save").addEventListener("click", save);
  at("sample-mark").addEventListener("click", () => mark(state.open));
  at("near").addEventListener("click", near);
  at("close").addEventListener("click", () => at("sample").close());
  at("sample").addEventListener("close", () => { state.open = -1; step(0); });
  dark.addEventListener("change", () => plot(at("field").value));

  async function start() {
    const about = state.about = await ask("about");
    document.title = `${about.name}: browse`;
    at("name").textContent = about.name;
    at("version").textContent = about.version;
    if (about.shards < about.planned) at("building").textContent = `Still being built: ${about.shards} of ${about.planned} shards.`;
    at("where").placeholder = `${about.first} > 0`;
    for (const name of about.fields) for (const id of ["sort", "field"]) at(id).append(made("option", name, { value: name }));
    at("commands").textContent = ["takedown DATASET --file keys.txt", "subset DATASET OUT --keys keys.txt", "retry DATASET --keys keys.txt"].map((line) => `onegen ${line.replace("DATASET", () => about.shell)}`).join("\n");
    try { marks = new Set(JSON.parse(localStorage.getItem(store()) || "[]")); } catch { /* none are kept */ }
    const before = new URLSearchParams(location.hash.slice(1));
    at("where").value = before.get("where") || "";
    at("sort").value = about.fields.includes(before.get("sort")) ? before.get("sort") : "";
    at("descending").checked = before.get("order") === "descending";
    at("field").value = about.first;
    await show(Number(before.get("page")) || 0);
    await spread();
  }
  start().catch(wrong);
})();

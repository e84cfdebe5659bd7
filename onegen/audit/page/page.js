// Draws every figure of the page, in the colours of the reader's theme; on paper always in dark ink on white.
// Lets readers sort tables by a column, by mouse and by keyboard.
"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const figures = JSON.parse(document.getElementById("figures").textContent);
  function colours(isDark) {
    const ink = isDark ? "#ececf0" : "#1d1d1f", rule = isDark ? "#3d4249" : "#dcdfe3";
    return { "font.color": ink, "xaxis.gridcolor": rule, "yaxis.gridcolor": rule, "xaxis.zerolinecolor": rule, "yaxis.zerolinecolor": rule };
  }
  function paint(isDark) {
    for (const name of Object.keys(figures)) Plotly.relayout(name, colours(isDark));
  }
  const base = { margin: { l: 56, r: 12, t: 8, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { size: 12 }, bargap: 0.04, showlegend: false };
  const options = { displayModeBar: false, responsive: true };
  const drawn = Object.entries(figures).map(([name, figure]) =>
    Plotly.newPlot(name, figure.data, { ...base, ...figure.layout }, options));
  Promise.all(drawn).then(() => { paint(dark.matches); document.body.dataset.drawn = drawn.length; });
  dark.addEventListener("change", () => paint(dark.matches));
  window.addEventListener("beforeprint", () => paint(false));
  window.addEventListener("afterprint", () => paint(dark.matches));

  function sort(table, place, header) {
    const isUp = header.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const value = (row) => row.cells[place].dataset.value;
    body.append(...[...body.rows].sort((one, other) => {
      const [a, b] = isUp ? [one, other] : [other, one];
      return value(a) !== undefined && value(b) !== undefined ? value(a) - value(b)
        : a.cells[place].textContent.localeCompare(b.cells[place].textContent, "en", { numeric: true });
    }));
  }
  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((header, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, place, header));
    });
  }
})();

"use strict";

/* The records' table: sort by a heading, filter by words. */
(function () {
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headings = Array.from(table.tHead.rows[0].cells);

  function valueOf(row, column) {
    const cell = row.cells[column];
    if (cell.classList.contains("number")) {
      return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    }
    return cell.dataset.value || cell.textContent.trim();
  }

  /* Missing values stay last in both directions. */
  function compare(a, b, direction) {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return direction * order;
  }

  headings.forEach(function (heading, column) {
    const button = heading.querySelector("button");
    if (!button) return;
    button.addEventListener("click", function () {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach(function (other) {
        if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      });
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      rows.sort(function (a, b) {
        return compare(valueOf(a, column), valueOf(b, column), ascending ? 1 : -1);
      });
      body.append(...rows);
    });
  });

  const texts = new Map(rows.map(function (row) {
    const id = row.querySelector(".case").dataset.value;
    return [row, (id + " " + row.textContent).toLowerCase()];
  }));
  const shown = document.getElementById("shown");
  document.getElementById("filter").addEventListener("input", function (event) {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach(function (row) {
      row.hidden = !words.every(function (word) { return texts.get(row).includes(word); });
      count += !row.hidden;
    });
    shown.textContent = words.length ? count + " of " + rows.length + " records" : rows.length + " records";
  });
})();

/* The interactive plot: its axes and contexts are chosen by our own controls, the methods by plotly's legend. */
(function () {
  const holder = document.getElementById("plot");
  if (!holder) return;
  const data = JSON.parse(document.getElementById("plot-data").textContent);
  const chosen = { x: data.x[0], y: data.y[0] };
  const select = document.getElementById("context");

  function visible(trace) {
    return !select || select.value === "" || Number(select.value) === trace.context;
  }

  function axis(which) {
    const quantity = chosen[which];
    const logarithmic = which === "x";
    return {
      title: { text: quantity.label, standoff: 10 },
      uirevision: quantity.column,
      type: logarithmic ? "log" : "linear",
      autorange: true,
      automargin: true,
      tickvals: quantity.ticks,
      ticktext: quantity.tick_labels,
      gridcolor: "#e4e9ee",
      linecolor: "#9aa5b1",
      ticks: "outside",
      tickcolor: "#9aa5b1",
      zeroline: false,
    };
  }

  function traces() {
    const everything = select && select.value === "";
    return data.traces.map(function (trace) {
      const { columns, context, full_name, ...rest } = trace;
      const name = everything ? full_name : rest.name;
      return { ...rest, name, x: columns[chosen.x.column], y: columns[chosen.y.column], visible: visible(trace) };
    });
  }

  const layout = {
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 13, color: "#1f2933" },
    hoverlabel: { bgcolor: "#fff", bordercolor: "#9aa5b1", font: { color: "#1f2933" }, align: "left", namelength: 0 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, groupclick: "togglegroup" },
    margin: { l: 60, r: 20, t: 30, b: 50 },
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    hovermode: "closest",
  };

  function draw() {
    const uirevision = select ? select.value : "";
    return Plotly.react(holder, traces(), { ...layout, uirevision, xaxis: axis("x"), yaxis: axis("y") }, data.config);
  }

  document.querySelectorAll(".choice").forEach(function (group) {
    const which = group.dataset.axis;
    group.addEventListener("click", function (event) {
      const button = event.target.closest("button");
      if (!button) return;
      chosen[which] = data[which].find(function (quantity) { return quantity.column === button.dataset.column; });
      group.querySelectorAll("button").forEach(function (other) {
        other.setAttribute("aria-pressed", String(other === button));
      });
      draw();
    });
  });
  if (select) select.addEventListener("change", draw);
  draw();
})();

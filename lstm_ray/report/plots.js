// Figures: drawn by plotly when they come near the window, in the page's colours. Stages give data, never looks.
const PRINT_WIDTH = 660;
const SPARSE = 100; // lines with fewer points than this differ by dash as well as by colour
const CROWDED = 1000; // lines with more are thin
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const SYMBOLS = ["circle", "diamond", "square", "x", "triangle-up"];
const PATTERNS = ["", "/", ".", "\\", "x", "-"];
const touch = matchMedia("(hover: none)").matches;
const drawn = new Set();

// Plotly wants colours as rgb(): a probe element resolves the style sheet's names under the theme that holds now.
function palette() {
  const probe = document.body.appendChild(document.createElement("i"));
  const colour = name => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const ramp = names => names.map((name, index) => [index / (names.length - 1), colour(name)]);
  const found = {
    ink: colour("ink"), quiet: colour("quiet"), line: colour("line"), surface: colour("surface"),
    series: [1, 2, 3, 4, 5, 6, 7].map(number => colour(`series-${number}`)),
    much: ramp(["much-1", "much-2", "much-3", "much-4", "much-5"]),
    around: ramp(["below-2", "below-1", "zero", "above-1", "above-2"]),
    font: getComputedStyle(document.body).fontFamily,
  };
  probe.remove();
  return found;
}
const faint = (colour, share) => colour.replace("rgb(", "rgba(").replace(")", `, ${share})`);
const isObject = value => value !== null && typeof value === "object" && !Array.isArray(value);

// What the figure says wins over what the page would do.
function merge(base, over) {
  const out = { ...base };
  for (const [key, value] of Object.entries(over ?? {}))
    out[key] = isObject(value) && isObject(out[key]) ? merge(out[key], value) : value;
  return out;
}

// A small matrix says its numbers, for colour alone cannot be read off.
function cellText(rows, room) {
  const values = rows.flat().filter(value => value !== null);
  const columns = rows[0]?.length ?? 0;
  if (!values.length || rows.length > 15 || columns * 55 > room) return {};
  const format = values.every(Number.isInteger) ? ",d" : Math.max(...values.map(Math.abs)) < 10 ? ".2f" : ".1f";
  return { texttemplate: `%{z:${format}}`, textfont: { size: 11 } };
}

// Lines between the cells of a matrix, unless they would be most of what is seen.
const gaps = rows => ({ xgap: rows[0]?.length <= 40 ? 1 : 0, ygap: rows.length <= 40 ? 1 : 0 });

function styledTraces(traces, colours, room) {
  const bars = traces.filter(trace => trace.type === "bar").length;
  const isBand = trace => trace.line?.width === 0;
  const counts = {}, groups = {}; // by panel: each starts with the first colour again
  const indices = traces.map(trace => {
    if (isBand(trace) || trace.type === "heatmap") return;
    const panel = trace.xaxis ?? "x";
    const index = counts[panel] = (counts[panel] ?? -1) + 1;
    groups[trace.legendgroup ?? ""] ??= index;
    return index;
  });
  return traces.map((trace, position) => {
    if (trace.type === "heatmap") {
      const scale = { RdBu: colours.around, Viridis: colours.much }[trace.colorscale ?? "Viridis"] ?? trace.colorscale;
      const bar = { thickness: 10, outlinewidth: 0, tickfont: { color: colours.quiet } };
      return { ...merge({ colorbar: bar, ...gaps(trace.z ?? []), ...cellText(trace.z ?? [], room) }, trace), colorscale: scale };
    }
    if (isBand(trace)) { // and its edges: of the line in its group, or of no series
      const own = trace.legendgroup && colours.series[groups[trace.legendgroup] % colours.series.length];
      return merge({ fillcolor: faint(own || colours.quiet, 0.22), line: { color: own || colours.quiet } }, trace);
    }
    const index = indices[position];
    const colour = colours.series[index % colours.series.length];
    if (trace.type === "scatter" || !trace.type) {
      const points = (trace.x ?? trace.y ?? []).length;
      const dash = points <= SPARSE && !trace.line?.width ? DASHES[index % DASHES.length] : "solid";
      const width = points <= SPARSE ? 2 : points <= CROWDED ? 1.6 : 1.1;
      const marker = { color: colour, size: 6, symbol: SYMBOLS[index % SYMBOLS.length] };
      return merge({ line: { color: colour, width, dash }, marker, fillcolor: faint(colour, 0.25) }, trace);
    }
    const pattern = { shape: bars > 1 ? PATTERNS[index % PATTERNS.length] : "", size: 6, fillmode: "overlay", fgcolor: colours.surface, fgopacity: 0.6 };
    const marker = trace.type === "bar" ? { color: colour, pattern, line: { width: 0 } } : { color: colour };
    return merge({ marker, line: { color: colour, width: 1.5 } }, trace);
  });
}

function styledLayout(spec, colours, size) {
  const named = spec.traces.filter(trace => trace.name && trace.showlegend !== false && trace.type !== "heatmap").length;
  const aligned = spec.traces.every(trace => trace.type === "bar" || (trace.mode ?? "lines").includes("lines"));
  const axis = {
    automargin: true, gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line, tickcolor: colours.line,
    tickfont: { color: colours.quiet }, title: { font: { color: colours.quiet, size: 12 }, standoff: 10 },
  };
  const base = {
    autosize: !size, ...size, font: { family: colours.font, size: 12, color: colours.ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: colours.series,
    margin: { l: 8, r: 12, t: spec.layout.annotations?.length ? 24 : named > 1 ? 34 : 10, b: 8 }, bargap: 0.25,
    showlegend: named > 1, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.quiet, activecolor: colours.ink },
    hovermode: aligned && !spec.traces.some(trace => trace.type === "heatmap") ? "x unified" : "closest",
    hoverlabel: { bgcolor: colours.surface, bordercolor: colours.line, font: { color: colours.ink, family: colours.font } },
    dragmode: touch ? false : "zoom", // a finger on a figure scrolls the page
  };
  const layout = merge(base, spec.layout);
  const axes = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter(key => /^[xy]axis\d*$/.test(key))]);
  for (const key of axes) {
    layout[key] = merge({ ...axis, showgrid: key[0] === "y", zeroline: key[0] === "y" }, layout[key]);
    if (!layout[key].title.text) delete layout[key].title; // an empty title would still take room
  }
  for (const key of ["shapes", "annotations"])
    layout[key] = (layout[key] ?? []).map(item => merge(key === "shapes" ? { line: { color: colours.quiet } } : { font: { color: colours.ink } }, item));
  return layout;
}

function draw(place, colours = palette(), size = undefined) {
  const spec = place.spec ??= JSON.parse(document.getElementById(place.dataset.source).textContent);
  const buttons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
  const config = { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover", modeBarButtons: buttons };
  drawn.add(place);
  Plotly.react(place, styledTraces(spec.traces, colours, size?.width ?? place.clientWidth), styledLayout(spec, colours, size), config);
}

addEventListener("DOMContentLoaded", () => {
  const places = document.querySelectorAll(".plot");
  const observer = new IntersectionObserver(entries => {
    for (const entry of entries.filter(entry => entry.isIntersecting)) {
      observer.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "500px 0px" });
  places.forEach(place => observer.observe(place));

  addEventListener("themechange", () => { const colours = palette(); drawn.forEach(place => draw(place, colours)); });

  // Paper is white, has its own width and hides nothing; afterwards all is as it was.
  const details = document.querySelector("details");
  let before;
  addEventListener("beforeprint", () => {
    before = { theme: root.dataset.theme, open: details.open };
    root.dataset.theme = "light";
    details.open = true;
    const colours = palette();
    for (const place of places) {
      observer.unobserve(place);
      draw(place, colours, { width: PRINT_WIDTH, height: place.clientHeight });
    }
  });
  addEventListener("afterprint", () => {
    details.open = before.open;
    setTheme(before.theme);
  });
});

// The curves of a campaign: drawn by uPlot, with a table of the same numbers for who cannot see them.
const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const HEIGHT = 260;
const known = new Map();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const clock = (at, step) => {
  const text = new Date(at * 1000).toISOString();
  return step >= 86400 || text.slice(11, 16) === "00:00" ? text.slice(5, 10) : text.slice(11, step < 60 ? 19 : 16);
};

const options = (place, curves) => ({
  width: place.clientWidth || 300,
  height: HEIGHT,
  tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
  cursor: { y: false },
  legend: { live: true },
  scales: { x: { time: true }, y: { range: [0, 100] } },
  axes: [
    {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line") },
      ticks: { stroke: colour("--line") },
      values: (_, ticks, _axis, _space, step) => ticks.map((tick) => clock(tick, step)),
    },
    {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line") },
      ticks: { stroke: colour("--line") },
      size: 58,
      values: (_, ticks) => ticks.map((tick) => `${tick} %`),
    },
  ],
  series: [
    { label: "time", value: (_, at) => (at === null ? "" : new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ")) },
    ...curves.map((curve, number) => ({
      label: curve.stage,
      stroke: colour(COLOURS[number % COLOURS.length]),
      dash: DASHES[Math.floor(number / COLOURS.length) % DASHES.length],
      width: 2,
      points: { show: false },
      value: (_, share) => (share === null ? "" : `${share.toFixed(1)} %`),
    })),
  ],
});

const columns = (curves) => [
  curves.length ? curves[0].points.map(([at]) => at) : [],
  ...curves.map((curve) => curve.points.map(([, share]) => share)),
];

function fillTable(place, curves) {
  const target = place.parentElement.querySelector("[data-chart-table]");
  if (!target) return;
  const table = document.createElement("table");
  const row = (parent, kind, texts) => {
    const line = parent.insertRow();
    for (const text of texts) {
      const cell = document.createElement(kind);
      cell.textContent = text;
      line.append(cell);
    }
  };
  row(table.createTHead(), "th", ["time", ...curves.map((curve) => curve.stage)]);
  const body = table.createTBody();
  const moments = curves.length ? curves[0].points : [];
  const step = Math.max(1, Math.ceil(moments.length / 40));
  moments.forEach(([at], number) => {
    if (number % step && number !== moments.length - 1) return;
    const shares = curves.map((curve) => `${curve.points[number][1].toFixed(1)} %`);
    row(body, "td", [new Date(at * 1000).toISOString().slice(0, 16).replace("T", " "), ...shares]);
  });
  target.replaceChildren(table);
}

async function draw(place) {
  const state = known.get(place) || { chart: null, etag: "", curves: [] };
  known.set(place, state);
  try {
    const headers = state.etag ? { "If-None-Match": state.etag } : {};
    const answer = await fetch(place.dataset.chart, { headers, credentials: "same-origin", cache: "no-store" });
    if (answer.status === 304) return;
    if (!answer.ok) throw new Error(String(answer.status));
    state.etag = answer.headers.get("etag") || "";
    state.curves = await answer.json();
  } catch {
    if (!state.chart) place.textContent = "The curve cannot be loaded just now.";
    return;
  }
  show(place, state);
  fillTable(place, state.curves);
}

function show(place, state) {
  if (state.chart && state.chart.series.length === state.curves.length + 1) {
    state.chart.setData(columns(state.curves));
    return;
  }
  if (state.chart) state.chart.destroy();
  place.replaceChildren();
  state.chart = new window.uPlot(options(place, state.curves), columns(state.curves), place);
}

const restyle = () => {
  for (const [place, state] of known) {
    if (!state.chart) continue;
    state.chart.destroy();
    state.chart = null;
    show(place, state);
  }
};

export const drawCharts = () => {
  for (const place of document.querySelectorAll("[data-chart]")) draw(place);
  window.addEventListener("prodsys-theme", restyle);
  new ResizeObserver(() => {
    for (const [place, state] of known) {
      if (state.chart && place.clientWidth) state.chart.setSize({ width: place.clientWidth, height: HEIGHT });
    }
  }).observe(document.getElementById("content"));
};

export const redrawCharts = () => {
  for (const place of document.querySelectorAll("[data-chart]")) draw(place);
};

// The map of all images: points coloured by label, or paler by guess.

const PALETTE = ["#0b62c4", "#d95f02", "#1b9e77", "#a6399b", "#b8860b", "#c4314b", "#4d7a97", "#6a51a3", "#5f7f1f", "#8c564b"];
const GREY = "#b4b9c2";

export const colour = (label) => (label < 0 ? GREY : PALETTE[label % PALETTE.length]);

/**
 * Draw the map, or colour it anew.
 * @param {HTMLElement} element Where.
 * @param {{x: number[], y: number[], labels: number[], guesses: number[]}} data Of all images.
 * @param {{lasso: (rows: number[]) => void, click: (row: number) => void}} handlers What to do with images.
 */
export function drawMap(element, data, handlers) {
  const labelled = [], others = [];
  data.labels.forEach((label, row) => (label >= 0 ? labelled : others).push(row));
  const trace = (rows, marker) => ({
    type: "scattergl", mode: "markers", hoverinfo: "none", showlegend: false,
    x: rows.map((row) => data.x[row]), y: rows.map((row) => data.y[row]), customdata: rows, marker,
  });
  const traces = [
    trace(others, { size: 4, opacity: 0.45, color: others.map((row) => colour(data.guesses[row])) }),
    trace(labelled, { size: 9, color: labelled.map((row) => colour(data.labels[row])), line: { width: 1, color: "#1b1f24" } }),
  ];
  const axis = { visible: false };
  const layout = {
    margin: { l: 0, r: 0, t: 0, b: 0 }, dragmode: "lasso", hovermode: "closest", uirevision: "kept",
    xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
  };
  const config = { responsive: true, displaylogo: false, scrollZoom: true,
    modeBarButtons: [["lasso2d", "select2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] };
  const first = !element.data;
  window.Plotly.react(element, traces, layout, config);
  if (!first) return;
  const rowsOf = (event) => (event?.points ?? []).map((point) => point.customdata);
  element.on("plotly_selected", (event) => { if (event?.points?.length) handlers.lasso(rowsOf(event)); });
  element.on("plotly_click", (event) => handlers.click(rowsOf(event)[0]));
}

/** Make the map as large as its element, if it is drawn. */
export function fitMap(element) {
  if (element.data) window.Plotly.Plots.resize(element);
}

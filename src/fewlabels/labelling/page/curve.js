// Accuracy against the number of labels: measured on labels held out, and what more labels are expected to bring.

const FONT = { size: 11, color: "#1b1f24" };
const LINE = { color: "#0b62c4", width: 2 };

/**
 * Draw the curve.
 * @param {HTMLElement} element Where.
 * @param {[number, number][]} curve Numbers of labels and accuracies, the last one expected.
 */
export function drawCurve(element, curve) {
  const part = (points, line, marker) => ({
    x: points.map(([labels]) => labels), y: points.map(([, accuracy]) => 100 * accuracy),
    mode: "lines+markers", line: { ...LINE, ...line }, marker, showlegend: false,
    hovertemplate: "%{x} labels: %{y:.0f}%<extra></extra>",
  });
  const traces = [
    part(curve.slice(0, -1), {}, { size: 6, color: LINE.color }),
    part(curve.slice(-2), { dash: "dot" }, { size: 7, color: ["rgba(0,0,0,0)", "#fff"], line: { width: 1.5, color: LINE.color } }),
  ];
  const layout = {
    width: element.clientWidth, height: element.clientHeight,
    margin: { l: 40, r: 8, t: 6, b: 34 }, font: FONT, paper_bgcolor: "#fff", plot_bgcolor: "#fff", dragmode: false,
    xaxis: { title: { text: "labels" }, fixedrange: true, rangemode: "tozero", nticks: 5 },
    yaxis: { title: { text: "right (%)" }, fixedrange: true, nticks: 4 },
  };
  window.Plotly.react(element, traces, layout, { displayModeBar: false });
}

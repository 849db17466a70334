// Charts as SVG: curves and areas over turns, bars. Each says in words what it shows.

import { s } from "./dom.js";

const HEIGHT = 168;
const LEFT = 46;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 22;

export function ceiling(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((factor) => unit * factor).find((each) => each >= value * 0.999);
}

export function brief(value) {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(2)}M`;
  if (value >= 1e3) return `${+(value / 1e3).toFixed(2)}k`;
  return `${+value.toFixed(value < 1 ? 3 : 2)}`;
}

// The extremes of a long list in each of so many steps, so that no peak and no fall is lost.
export function thinned(values, most = 700) {
  if (values.length <= most) return values.map((value, place) => [place, value]);
  const out = [];
  const step = values.length / (most / 2);
  for (let from = 0; from < values.length; from += step) {
    let low = Math.floor(from);
    let high = low;
    for (let place = low; place < Math.min(from + step, values.length); place++) {
      if (values[place] < values[low]) low = place;
      if (values[place] > values[high]) high = place;
    }
    for (const place of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) out.push([place, values[place]]);
  }
  const last = values.length - 1;
  if (out[out.length - 1][0] !== last) out.push([last, values[last]]);
  return out;
}

export function lineChart({ width, height = HEIGHT, series, high, label, unit = brief, from = 0, to, mark = null, extra = [] }) {
  const top = high ?? ceiling(Math.max(...series.flatMap((each) => each.points.map(([, y]) => y)), 0));
  const end = Math.max(to, from + 1);
  const x = (value) => LEFT + ((value - from) / (end - from)) * (width - LEFT - RIGHT);
  const y = (value) => height - BOTTOM - (Math.min(value, top) / top) * (height - TOP - BOTTOM);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, class: "chart" });
  for (let tick = 0; tick <= 4; tick++) {
    const at = (top * tick) / 4;
    svg.append(s("line", { x1: LEFT, x2: width - RIGHT, y1: y(at), y2: y(at), class: "grid" }));
    svg.append(s("text", { x: LEFT - 7, y: y(at) + 4, "text-anchor": "end" }, unit(at)));
  }
  for (const place of [from, Math.round((from + end) / 2), end]) {
    const anchor = place === from ? "start" : place === end ? "end" : "middle";
    svg.append(s("text", { x: x(place), y: height - 6, "text-anchor": anchor }, brief(place)));
  }
  for (const make of extra) svg.append(...make(x, y));
  for (const { points, name, area } of series) {
    if (!points.length) continue;
    const line = points.map(([px, py], place) => `${place ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
    if (area) {
      const base = `L${x(points[points.length - 1][0]).toFixed(1)} ${y(0)}L${x(points[0][0]).toFixed(1)} ${y(0)}Z`;
      svg.append(s("path", { d: line + base, class: `area ${name}` }));
    }
    svg.append(s("path", { d: line, class: `line ${name}` }));
  }
  if (mark !== null) svg.append(s("line", { x1: x(mark), x2: x(mark), y1: TOP - 4, y2: height - BOTTOM, class: "mark" }));
  return svg;
}

export const plot = { left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM };

// Draws again whenever the place for it gets another width.
export function fitted(holder, draw) {
  let width = 0;
  const again = () => {
    const now = Math.floor(holder.clientWidth);
    if (!now) return;
    width = now;
    holder.replaceChildren(draw(width));
  };
  new ResizeObserver(() => Math.floor(holder.clientWidth) !== width && again()).observe(holder);
  return again;
}

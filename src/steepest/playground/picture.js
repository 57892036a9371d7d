// Drawing on any 2D context: the background of a surface, paths, heights by step, basins, sweeps.
const FONT = "12px system-ui, sans-serif";
const COLUMNS = 120; // of the grid for level lines
const LEVELS = 22;

// The colours of pictures, light or dark.
function inks() {
  return dark()
    ? { ink: "#f2f2f2", soft: "#b8bcc4", line: "#4a4f58", paper: "#15171b", ground: [[17, 19, 23], [42, 47, 57]], edge: "#717a89" }
    : { ink: "#1a1a1a", soft: "#55595f", line: "#d4d7dc", paper: "#ffffff", ground: [[255, 255, 255], [199, 207, 219]], edge: "#98a1b0" };
}

// The part of the plane on a map of this size: the surface's domain, enlarged if the start is outside.
function viewOf(surface, start, width, height) {
  const [mx, my] = middle(surface), halves = surface.domain.map(([low, high]) => (high - low) / 2);
  const away = start ? [Math.abs(start[0] - mx), Math.abs(start[1] - my)] : [0, 0];
  const [hx, hy] = halves.map((half, i) => Math.max(half, Math.min(1.05 * away[i], 3 * half))); // at most threefold
  return { x0: mx - hx, x1: mx + hx, y0: my - hy, y1: my + hy, width, height };
}

// The aspect ratio of a map: that of the domain, so that both axes have the same scale, within limits.
function shapeOf({ domain: [[x0, x1], [y0, y1]] }) {
  return Math.min(Math.max((x1 - x0) / (y1 - y0), 0.75), 1.4);
}

const toX = (view, x) => ((x - view.x0) / (view.x1 - view.x0)) * view.width;
const toY = (view, y) => ((view.y1 - y) / (view.y1 - view.y0)) * view.height;
const fromX = (view, px) => view.x0 + (px / view.width) * (view.x1 - view.x0);
const fromY = (view, py) => view.y1 - (py / view.height) * (view.y1 - view.y0);

// Level lines at equal shares of the area, denser at low heights, so that flat parts are visible.
function groundOf(surface, view) {
  const columns = COLUMNS, rows = Math.max(Math.round((columns * view.height) / view.width), 2), g = new Float64Array(2);
  const heights = new Float64Array(columns * rows);
  for (let k = 0; k < heights.length; k++) {
    const column = k % columns, row = Math.floor(k / columns);
    heights[k] = surface.f([fromX(view, ((column + 0.5) / columns) * view.width), fromY(view, ((row + 0.5) / rows) * view.height)], g);
  }
  const sorted = heights.filter(Number.isFinite).sort();
  if (!sorted.length) return { columns, rows, bands: [], lowest: NaN };
  for (let k = 0; k < heights.length; k++) if (!Number.isFinite(heights[k])) heights[k] = sorted.at(-1);
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  const levels = [...new Set(Array.from({ length: LEVELS }, (_, k) => at(((k + 1) / (LEVELS + 1)) ** 1.6)))];
  return { columns, rows, lowest: sorted[0], bands: KEPT.contours().size([columns, rows]).thresholds(levels)(heights) };
}

function drawGround(draw, ground, view) {
  const { ground: [low, high], edge, paper } = inks(), { columns, rows, bands } = ground;
  draw.fillStyle = bands.length ? `rgb(${low})` : paper;
  draw.fillRect(0, 0, view.width, view.height);
  draw.lineJoin = "round";
  bands.forEach(({ coordinates }, k) => {
    const share = (k + 1) / bands.length;
    draw.beginPath();
    for (const ring of coordinates.flat()) {
      ring.forEach(([x, y], j) => draw[j ? "lineTo" : "moveTo"]((x / columns) * view.width, (y / rows) * view.height));
      draw.closePath();
    }
    draw.fillStyle = `rgb(${low.map((x, c) => Math.round(x + share * (high[c] - x)))})`;
    draw.fill("evenodd");
    draw.strokeStyle = edge;
    draw.globalAlpha = 0.55;
    draw.lineWidth = 0.6;
    draw.stroke();
    draw.globalAlpha = 1;
  });
}

// Ticks at the left and lower edge, the domain's frame if it is smaller than the view, and known minima as stars.
function drawFrame(draw, surface, view) {
  const { soft, paper, edge } = inks();
  draw.font = FONT;
  const plate = (text, x, y, align) => {
    const wide = draw.measureText(text).width, left = align === "center" ? x - wide / 2 : x;
    draw.fillStyle = paper;
    draw.globalAlpha = 0.75;
    draw.fillRect(left - 2, y - 11, wide + 4, 14);
    draw.globalAlpha = 1;
    draw.fillStyle = soft;
    draw.textAlign = align;
    draw.fillText(text, x, y);
  };
  const spread = KEPT.scaleLinear([view.x0, view.x1], [0, view.width]), rise = KEPT.scaleLinear([view.y0, view.y1], [view.height, 0]);
  for (const x of spread.ticks(6)) if (spread(x) > 34 && spread(x) < view.width - 14) plate(number(x), spread(x), view.height - 5, "center");
  for (const y of rise.ticks(6)) if (rise(y) > 14 && rise(y) < view.height - 24) plate(number(y), 5, rise(y) + 4, "left");
  const [[x0, x1], [y0, y1]] = surface.domain;
  draw.strokeStyle = edge;
  draw.lineWidth = 1;
  draw.setLineDash([3, 4]);
  draw.strokeRect(toX(view, x0), toY(view, y1), toX(view, x1) - toX(view, x0), toY(view, y0) - toY(view, y1));
  draw.setLineDash([]);
  for (const [x, y] of surface.minima) star(draw, toX(view, x), toY(view, y));
}

function star(draw, x, y) {
  const { ink, paper } = inks();
  draw.beginPath();
  for (let k = 0; k < 10; k++) {
    const r = k % 2 ? 3.6 : 9, angle = -Math.PI / 2 + (k * Math.PI) / 5;
    draw[k ? "lineTo" : "moveTo"](x + r * Math.cos(angle), y + r * Math.sin(angle));
  }
  draw.closePath();
  draw.fillStyle = ink;
  draw.fill();
  draw.strokeStyle = paper;
  draw.lineWidth = 1.2;
  draw.stroke();
}

// The marker of a rule at a point: filled with its colour, or hollow.
function mark(draw, { marker, colour }, x, y, r) {
  const { paper } = inks(), hollow = marker.startsWith("hollow");
  outline(draw, marker, x, y, r);
  draw.fillStyle = hollow ? paper : colour;
  draw.fill();
  draw.strokeStyle = hollow ? colour : paper;
  draw.lineWidth = hollow ? 1.8 : 1.2;
  draw.stroke();
}

// A path, faint after the step `upto`. Points far outside are clamped.
function drawPath(draw, path, look, view, upto) {
  const far = 4 * (view.width + view.height);
  const px = (k) => Math.min(Math.max(toX(view, path.points[2 * k]), -far), far);
  const py = (k) => Math.min(Math.max(toY(view, path.points[2 * k + 1]), -far), far);
  const line = (from, to) => {
    if (to <= from) return;
    draw.beginPath();
    draw.moveTo(px(from), py(from));
    for (let k = from + 1; k <= to; k++) draw.lineTo(px(k), py(k));
    draw.stroke();
  };
  draw.lineJoin = "round";
  draw.setLineDash(look.dash);
  draw.strokeStyle = look.colour;
  draw.lineWidth = 1.2;
  draw.globalAlpha = 0.3;
  line(upto, path.last);
  draw.globalAlpha = 1;
  draw.lineWidth = 2.2;
  line(0, Math.min(upto, path.last));
  draw.setLineDash([]);
  const end = Math.min(upto, path.last);
  mark(draw, look, px(end), py(end), 5.5);
}

// Each rule's line, marker and name, in two columns.
function drawLegend(draw, shown, width) {
  const { ink } = inks(), rows = Math.ceil(shown.length / 2);
  draw.font = FONT;
  draw.textAlign = "left";
  shown.forEach(({ label, look }, k) => {
    const x = k < rows ? 0 : width / 2, y = 18 * (k % rows) + 9;
    draw.setLineDash(look.dash);
    draw.strokeStyle = look.colour;
    draw.lineWidth = 2.2;
    draw.beginPath();
    draw.moveTo(x, y);
    draw.lineTo(x + 34, y);
    draw.stroke();
    draw.setLineDash([]);
    mark(draw, look, x + 17, y, 4.5);
    draw.fillStyle = ink;
    draw.fillText(label, x + 42, y + 4);
  });
}

// A plot's frame: scales, ticks and names of the axes. `x` and `y` are {low, high, log, name}.
function drawAxes(draw, box, x, y) {
  const { soft, line } = inks();
  const scale = ({ low, high, log }, range) => (log ? KEPT.scaleLog([low, high], range) : KEPT.scaleLinear([low, high], range));
  const across = scale(x, [box.left, box.right]), up = scale(y, [box.bottom, box.top]);
  draw.font = FONT;
  draw.lineWidth = 1;
  draw.fillStyle = soft;
  const rows = ticksOf(up, y, 5), columns = ticksOf(across, x, 5);
  draw.textAlign = "right";
  for (const value of rows) {
    const py = up(value);
    draw.strokeStyle = line;
    draw.beginPath();
    draw.moveTo(box.left, py);
    draw.lineTo(box.right, py);
    draw.stroke();
    draw.fillText(shortly(value, y.log), box.left - 5, py + 4);
  }
  draw.textAlign = "center";
  for (const value of columns) draw.fillText(shortly(value, x.log), across(value), box.bottom + 15);
  draw.fillText(x.name, (box.left + box.right) / 2, box.bottom + 30);
  draw.textAlign = "left";
  draw.fillText(y.name, 2, box.top - 8);
  return { across, up };
}

// At most `most` ticks; on a log axis powers of ten, with their multiples by 2 and 5 if there are few.
function ticksOf(scale, { low, high, log }, most) {
  if (!log) return scale.ticks(most);
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), near = 1e-9;
  const powers = Array.from({ length: last - first + 1 }, (_, k) => 10 ** (first + k));
  const inside = (values) => values.filter((x) => x >= low * (1 - near) && x <= high * (1 + near));
  const whole = inside(powers);
  const more = inside(powers.flatMap((x) => [x, 2 * x, 5 * x]));
  if (whole.length < 3) return more.length > 1 ? more : KEPT.scaleLinear([low, high], [0, 1]).ticks(most);
  const every = Math.ceil(whole.length / most);
  return whole.filter((_, k) => k % every === 0);
}

const shortly = (x, log) => (log && x !== 1 && Math.abs(Math.log10(x) % 1) < 1e-9 && (x < 0.01 || x > 1000) ? `1e${Math.round(Math.log10(x))}`.replace("-", "−") : number(x, 3));

// Heights by gradients taken, with the cursor; on a log axis above the minimum if it is known.
function drawHeights(draw, width, height, shown, { steps, at, floor }) {
  const { ink } = inks(), log = floor !== null, box = { left: 46, right: width - 14, top: 24, bottom: height - 36 };
  const least = 1e-16, of = (value) => (log ? Math.max(value - floor, least) : value);
  let low = Infinity, high = -Infinity;
  for (const { path } of shown) {
    const first = of(path.values[0]);
    for (let k = 0; k <= path.last; k++) {
      const value = of(path.values[k]);
      if (value < low) low = value;
      if (value > high && (!log || value < first * 1e4)) high = value;
    }
  }
  if (!(low < high)) [low, high] = log ? [0.1, 1] : [Math.min(low, 0) || 0, Math.max(high, 1) || 1];
  if (!log) [low, high] = [Math.max(low, high - 50 * Math.abs(high || 1)), high];
  const name = log ? (floor === 0 ? "height" : `height above ${number(floor)}`) : "height";
  const { across, up } = drawAxes(draw, box, { low: 0, high: steps, name: "gradients taken" }, { low, high, log, name });
  draw.save();
  draw.beginPath();
  draw.rect(box.left, box.top - 4, box.right - box.left, box.bottom - box.top + 8);
  draw.clip();
  for (const { path, look } of shown) {
    draw.beginPath();
    for (let k = 0; k <= path.last; k++) draw[k ? "lineTo" : "moveTo"](across(k * path.every), up(of(path.values[k])));
    draw.setLineDash(look.dash);
    draw.strokeStyle = look.colour;
    draw.lineWidth = 1.8;
    draw.stroke();
  }
  draw.setLineDash([]);
  for (const { path, look } of shown) {
    const k = Math.min(Math.floor(at / path.every), path.last);
    mark(draw, look, across(k * path.every), up(of(path.values[k])), 4);
  }
  draw.restore();
  draw.strokeStyle = ink;
  draw.lineWidth = 1;
  draw.beginPath();
  draw.moveTo(across(at), box.top - 4);
  draw.lineTo(across(at), box.bottom);
  draw.stroke();
  return { box, across };
}

const BASINS = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#999999"];

// The minimum that each start reaches: tints, with letters at the minima; diverged starts are struck out, unfinished ones blank.
function drawBasins(draw, width, height, { columns, rows, cells, ends, view, start, look }) {
  const { ink, paper, soft } = inks(), wide = width / columns, high = height / rows;
  draw.fillStyle = paper;
  draw.fillRect(0, 0, width, height);
  for (let k = 0; k < cells.length; k++) {
    const column = k % columns, x = Math.round(column * wide), y = Math.round(Math.floor(k / columns) * high);
    if (cells[k] >= 0) {
      draw.fillStyle = BASINS[cells[k]];
      draw.globalAlpha = 0.65;
      draw.fillRect(x, y, Math.round((column + 1) * wide) - x, Math.round((Math.floor(k / columns) + 1) * high) - y);
      draw.globalAlpha = 1;
    } else if (cells[k] === -1) {
      draw.strokeStyle = soft;
      draw.lineWidth = 0.8;
      draw.beginPath();
      draw.moveTo(x + 0.25 * wide, y + 0.25 * high);
      draw.lineTo(x + 0.75 * wide, y + 0.75 * high);
      draw.stroke();
    }
  }
  const small = { ...view, width, height };
  ends.forEach(([x, y], k) => {
    draw.font = "700 14px system-ui, sans-serif";
    draw.textAlign = "center";
    draw.strokeStyle = paper;
    draw.lineWidth = 4;
    draw.strokeText("ABCDEFG"[k], toX(small, x), toY(small, y) + 5);
    draw.fillStyle = ink;
    draw.fillText("ABCDEFG"[k], toX(small, x), toY(small, y) + 5);
  });
  outline(draw, "circle", toX(small, start[0]), toY(small, start[1]), 5);
  draw.fillStyle = paper;
  draw.fill();
  draw.strokeStyle = look.colour;
  draw.lineWidth = 2.5;
  draw.stroke();
}

// The last height by rate, for every rule, with its current rate and the bound 2 / largest curvature; diverged runs are left out.
function drawSweep(draw, width, height, { entries, looks, table, rates, floor, bound, follow }) {
  const { ink, soft } = inks(), log = floor !== null, box = { left: 46, right: width - 14, top: 24, bottom: height - 36 };
  const of = (value) => (log ? Math.max(value - floor, 1e-16) : value);
  const all = table.flatMap((row) => Array.from(row).filter(Number.isFinite).map(of)).sort((a, b) => a - b);
  let [low, high] = [all[0] ?? 0.1, all[Math.floor(0.97 * all.length)] ?? 1];
  if (!(low < high)) [low, high] = log ? [low / 10 || 0.1, low * 10 || 1] : [low - 1, low + 1];
  const x = { low: rates[0], high: rates.at(-1), log: true, name: "rate" }, name = log && floor ? `last height above ${number(floor)}` : "last height";
  const { across, up } = drawAxes(draw, box, x, { low, high, log, name });
  draw.save();
  draw.beginPath();
  draw.rect(box.left, box.top - 6, box.right - box.left, box.bottom - box.top + 10);
  draw.clip();
  table.forEach((row, i) => {
    draw.beginPath();
    let on = false;
    row.forEach((value, k) => {
      if (!Number.isFinite(value)) return (on = false);
      draw[on ? "lineTo" : "moveTo"](across(rates[k]), up(of(value)));
      on = true;
    });
    draw.setLineDash(looks[i].dash);
    draw.strokeStyle = looks[i].colour;
    draw.lineWidth = i === follow ? 3 : 1.6;
    draw.stroke();
    draw.setLineDash([]);
    const near = rates.reduce((best, rate, k) => (Math.abs(Math.log(rate / entries[i].lr)) < Math.abs(Math.log(rates[best] / entries[i].lr)) ? k : best), 0);
    if (Number.isFinite(row[near])) {
      mark(draw, looks[i], across(entries[i].lr), up(of(row[near])), 5);
    }
  });
  draw.restore();
  if (bound > rates[0] && bound < rates.at(-1)) {
    draw.strokeStyle = ink;
    draw.setLineDash([2, 3]);
    draw.beginPath();
    draw.moveTo(across(bound), box.top - 4);
    draw.lineTo(across(bound), box.bottom);
    draw.stroke();
    draw.setLineDash([]);
    draw.fillStyle = soft;
    draw.textAlign = "center";
    draw.fillText(`2/λ = ${number(bound, 3)}`, Math.min(Math.max(across(bound), box.left + 150), box.right - 36), box.top - 8);
  }
  return { box, across };
}

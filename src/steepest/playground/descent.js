// Computations on a surface: paths with equal numbers of gradients, tuned rates, basins, sweeps, the values of one step.
const FAR = 1e6; // a path this many domain sizes away has diverged
const GRID = Array.from({ length: 20 }, (_, k) => Number((10 ** ((k - 15) / 3)).toExponential(1))); // candidate rates

// Rotate a surface counter-clockwise around the centre of its domain; the domain becomes a square.
function turned(surface, degrees) {
  if (!degrees) return surface;
  const angle = (degrees * Math.PI) / 180, c = Math.cos(angle), s = Math.sin(angle);
  const [mx, my] = middle(surface), at = new Float64Array(2), slope = new Float64Array(2);
  const f = (p, g, h) => {
    const dx = p[0] - mx, dy = p[1] - my;
    at[0] = mx + c * dx + s * dy;
    at[1] = my - s * dx + c * dy;
    const height = surface.f(at, slope, h);
    g[0] = c * slope[0] - s * slope[1];
    g[1] = s * slope[0] + c * slope[1];
    if (h) {
      const [xx, xy, yy] = h;
      h[0] = c * c * xx - 2 * c * s * xy + s * s * yy;
      h[1] = c * s * (xx - yy) + (c * c - s * s) * xy;
      h[2] = s * s * xx + 2 * c * s * xy + c * c * yy;
    }
    return height;
  };
  const minima = surface.minima.map((point) => rotated(point, surface, degrees));
  const half = Math.max(...surface.domain.map(([low, high]) => high - low)) / 2;
  const domain = [[mx - half, mx + half], [my - half, my + half]];
  return { ...surface, f, domain, minima, start: rotated(surface.start, surface, degrees) };
}

const middle = ({ domain }) => domain.map(([low, high]) => (low + high) / 2);

function rotated([x, y], surface, degrees) {
  const angle = (degrees * Math.PI) / 180, c = Math.cos(angle), s = Math.sin(angle), [mx, my] = middle(surface);
  return [mx + c * (x - mx) - s * (y - my), my + s * (x - mx) + c * (y - my)];
}

// Why a rule rejects these hyperparameters; "" if it accepts them.
function refusal(name, hyper) {
  const rule = RULES[name];
  if (rule.apart) return rule.apart;
  for (const [k, [low, high, without, words]] of Object.entries(rule.domains)) {
    const x = hyper[k], holds = Number.isFinite(x) && (low === null || x >= low) && (high === null || x <= high);
    if (!holds || without.includes(x)) return `${k} is ${x}; expected ${words}`;
  }
  const broken = rule.refused.find(({ when }) => Object.entries(when).every(([k, on]) => Boolean(hyper[k]) === on));
  return broken ? broken.words : "";
}

// All hyperparameters of a rule in the list: defaults, changes, learning rate.
const hyperOf = ({ name, lr, hyper }) => ({ ...RULES[name].hyper, ...hyper, lr });

// The path of a rule in the list: points, heights, gradients per step, the steps at which it leaves the domain and diverges.
function pathOf(entry, surface, { start, steps, schedule, noise, seed }, shaken = noiseOf(noise, seed, steps)) {
  const rule = RULES[entry.name], every = rule.evaluations, count = Math.max(Math.floor(steps / every), 1);
  const made = walk(rule, hyperOf(entry), surface.f, start, ratesOf(entry.lr, schedule, count), shaken);
  const { points, values } = made;
  const [[x0, x1], [y0, y1]] = surface.domain, far = FAR * Math.max(x1 - x0, y1 - y0);
  let lostAt = null, leavesAt = null;
  for (let k = 0; k <= count && lostAt === null; k++) {
    const x = points[2 * k], y = points[2 * k + 1];
    if (!(Math.abs(x) <= far && Math.abs(y) <= far && Number.isFinite(values[k]))) lostAt = k;
    else if (leavesAt === null && (x < x0 || x > x1 || y < y0 || y > y1)) leavesAt = k;
  }
  const last = lostAt === null ? count : Math.max(lostAt - 1, 0);
  return { points, values, every, count, last, lostAt, leavesAt: leavesAt ?? lostAt };
}

// Normal noise for every gradient of a run, the same for all rules; null for none. The last is cached: a drag reuses it.
let noiseKept = { asked: "", drawn: null };
function noiseOf(noise, seed, steps) {
  if (!noise) return null;
  const asked = `${noise} ${seed} ${steps}`;
  if (noiseKept.asked !== asked) noiseKept = { asked, drawn: normals(seed, 2 * steps).map((x) => noise * x) };
  return noiseKept.drawn;
}

// The surface's own rate, else the best of a grid: the lowest end among paths that stay in the domain, if any does.
function tuned(entry, surface, run) {
  if (isNewton(entry)) return RULES.newton.rate;
  const own = surface.rates[entry.name] ?? surface.rates[""];
  if (own !== undefined) return own;
  const noise = noiseOf(run.noise, run.seed, run.steps);
  const tried = GRID.map((lr) => ({ lr, path: pathOf({ ...entry, lr }, surface, run, noise) }));
  const staying = tried.filter(({ path }) => path.leavesAt === null);
  const end = ({ path }) => (path.lostAt === null ? path.values[path.count] : Infinity);
  return (staying.length ? staying : tried).reduce((best, each) => (end(each) < end(best) ? each : best)).lr;
}

// Curvatures of a Hessian [xx, xy, yy] and the direction of the largest; y where all directions curve alike.
function curvesOf([xx, xy, yy]) {
  const half = (xx + yy) / 2, away = Math.hypot((xx - yy) / 2, xy), round = away <= 1e-12 * Math.abs(half);
  return { largest: half + away, smallest: half - away, angle: round ? Math.PI / 2 : Math.atan2(2 * xy, xx - yy) / 2 };
}

// A quadratic's curvatures, their directions (flat, steep), and the point where its slope is 0; null for other surfaces.
function curvature({ f, domain }) {
  const [[x0, x1], [y0, y1]] = domain, place = (u, v) => [x0 + u * (x1 - x0), y0 + v * (y1 - y0)];
  const [here, ...others] = [[0.07, 0.07], [0.93, 0.93], [0.77, 0.13], [0.18, 0.86]].map(([u, v]) => {
    const at = place(u, v), g = [0, 0], h = [0, 0, 0];
    f(at, g, h);
    return { at, g, h };
  });
  const [xx, xy, yy] = here.h, size = Math.max(...here.h.map(Math.abs)), length = x1 - x0 + y1 - y0;
  const fits = others.every(({ at, g, h }) => {
    const dx = at[0] - here.at[0], dy = at[1] - here.at[1];
    const foretold = [here.g[0] + xx * dx + xy * dy, here.g[1] + xy * dx + yy * dy]; // a kink between would show here
    return h.every((x, k) => Math.abs(x - here.h[k]) <= 1e-9 * size) && foretold.every((x, i) => Math.abs(x - g[i]) <= 1e-9 * size * length);
  });
  if (!(size > 0 && fits)) return null;
  const { largest, smallest, angle } = curvesOf(here.h), steep = [Math.cos(angle), Math.sin(angle)], det = xx * yy - xy * xy;
  const minimum = [here.at[0] - (yy * here.g[0] - xy * here.g[1]) / det, here.at[1] - (xx * here.g[1] - xy * here.g[0]) / det];
  return { largest, smallest, axes: [[steep[1], -steep[0]], steep], minimum };
}

// The values of step `k`, counted from 1: each line of the rule's function with its result.
function stepNumbers(entry, surface, run, k) {
  const rule = RULES[entry.name], hyper = hyperOf(entry), notes = {};
  const count = Math.max(Math.floor(run.steps / rule.evaluations), 1), rates = ratesOf(entry.lr, run.schedule, count).subarray(0, k);
  const noise = noiseOf(run.noise, run.seed, run.steps);
  const told = (name, i, value) => (i < 0 ? (notes[name] = value) : ((notes[name] ??= [0, 0])[i] = value));
  const { points } = walk(rule, hyper, surface.f, run.start, rates, noise, told);
  const lines = [{ name: "g", formula: noise ? "the gradient, and noise" : "the gradient", value: notes.g }], seen = new Set(["g"]);
  for (const [, name, formula] of String(choose(rule, hyper)).matchAll(/^ +(?:const (\w+) = |p\[i\] = )(.+);$/gm)) {
    if (name === undefined || seen.has(name) || !(name in notes)) continue;
    seen.add(name);
    for (const [, root] of formula.matchAll(/Math\.sqrt\((\w+)\)/g)) {
      if (!Array.isArray(notes[root]) || seen.has(`√${root}`)) continue;
      seen.add(`√${root}`);
      lines.push({ name: `√${root}`, formula: "", value: notes[root].map(Math.sqrt) });
    }
    lines.push({ name, formula, value: notes[name] });
  }
  lines.push({ name: "Δ", formula: "p_t - p", value: [0, 1].map((i) => points[2 * k + i] - points[2 * k - 2 + i]) });
  return { lines, rate: rates[k - 1], t: k };
}

// Where paths from a grid of starts end: the index of a minimum in `ends`, -1 if diverged, -2 if not there yet.
function* basinsOf(entry, surface, run, view, columns, rows, cells, ends) {
  const size = Math.max(...surface.domain.map(([low, high]) => high - low)), near = 0.03 * size;
  const noise = noiseOf(run.noise, run.seed, run.steps), g = new Float64Array(2);
  for (let k = 0; k < columns * rows; k++) {
    const column = k % columns, row = Math.floor(k / columns);
    const start = [
      view.x0 + ((column + 0.5) / columns) * (view.x1 - view.x0),
      view.y1 - ((row + 0.5) / rows) * (view.y1 - view.y0),
    ];
    const { points, count, lostAt } = pathOf(entry, surface, { ...run, start }, noise);
    const at = (j) => [points[2 * j], points[2 * j + 1]], apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const end = at(count);
    if (lostAt !== null) cells[k] = -1;
    else {
      let place = ends.findIndex((each) => apart(each, end) < near);
      const steep = (p) => (surface.f(p, g), Math.hypot(g[0], g[1]));
      const settled = apart(at(Math.floor(0.9 * count)), end) < 0.2 * near && steep(end) < 0.05 * steep(start);
      if (place < 0 && settled && ends.length < 7) place = ends.push(end) - 1;
      cells[k] = place < 0 ? -2 : place;
    }
    yield;
  }
}

// The last height of each rule in the list at each rate; Infinity if the path diverges.
function* sweepOf(entries, surface, run, rates, table) {
  const noise = noiseOf(run.noise, run.seed, run.steps);
  for (let i = 0; i < entries.length; i++) {
    table[i] = new Float64Array(rates.length).fill(NaN);
    for (let k = 0; k < rates.length; k++) {
      const path = pathOf({ ...entries[i], lr: rates[k] }, surface, run, noise);
      table[i][k] = path.lostAt === null ? path.values[path.count] : Infinity;
      yield;
    }
  }
}

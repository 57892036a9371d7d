// Write the page's settings as an address, Python or JSON, and read them from an address, which is untrusted input.
// FIRST, defined by the generated code, has the initial rules.
const MOST_RULES = FIRST.most;
const PANELS = ["step", "rates", "phase", "basins"];
const START = {
  surface: "valley", formula: "", turn: 0, start: null, steps: 200, schedule: "constant", noise: 0, seed: 0,
  rules: FIRST.rules.map(readEntry), at: 200, follow: FIRST.rules.length - 1, panel: "step", lesson: 0, tab: "surface",
};
const LIMITS = { steps: [1, 2000], noise: [0, 1e6], seed: [0, 2 ** 32 - 1], turn: [-180, 180] };
const SCHEDULE_NAMES = Object.keys(SCHEDULES);

// A rule in the list as text: adam(eps=1)@0.1.
function entryText({ name, lr, hyper }, rate = true) {
  const changed = Object.entries(hyper).map(([k, v]) => `${k}=${v === true ? "True" : v === false ? "False" : v}`);
  return `${name}${changed.length ? `(${changed.join(",")})` : ""}${rate ? `@${lr}` : ""}`;
}

// Parse such a text; null for an unknown rule or an invalid value.
function readEntry(text) {
  const names = Object.keys(RULES).filter((name) => text.startsWith(name)).sort((a, b) => b.length - a.length);
  const found = names.length ? text.slice(names[0].length).match(/^(?:\(([^()]*)\))?(?:@(.+))?$/) : null;
  if (!found) return null;
  const rule = RULES[names[0]], hyper = {};
  for (const part of (found[1] ?? "").split(",").filter(Boolean)) {
    const [k, value] = part.split("=").map((word) => word.trim());
    if (!rule.offered.includes(k)) return null;
    const read = typeof rule.hyper[k] === "boolean" ? { True: true, False: false }[value] : Number(value);
    if (read === undefined) return null;
    if (read !== rule.hyper[k]) hyper[k] = read;
  }
  const entry = { name: rule.name, lr: found[2] === undefined ? null : Number(found[2]), hyper };
  return refusal(rule.name, hyperOf({ ...entry, lr: entry.lr ?? 1 })) || !(entry.lr === null || isRate(entry.lr)) ? null : entry;
}

const isRate = (lr) => lr > 0 && lr <= 1e6;

// Whether two rules have the same name in Python, whose rates are by name.
const areTwins = (a, b) => (a.name.startsWith("switch") ? a.name === b.name : entryText(a, false) === entryText(b, false));

// Split at commas outside parentheses.
const parts = (text) => text.split(/,(?![^()]*\))/).map((word) => word.trim()).filter(Boolean);

// The settings of an address, over the current ones; invalid values are ignored.
function readState(text, standing) {
  const said = new URLSearchParams(text), lesson = LESSONS[said.get("lesson") - 1];
  const alone = lesson && !said.has("surface") && !said.has("formula");
  const state = structuredClone(alone ? readState(lesson.look, standing) : standing);
  const take = (key, read, holds) => {
    if (!said.has(key)) return;
    const value = read(said.get(key));
    if (holds(value)) state[key] = value;
  };
  take("surface", String, (name) => Object.hasOwn(SURFACES, name));
  if (said.has("surface")) state.formula = "";
  take("formula", String, (formula) => formula.length <= LONGEST);
  for (const key of Object.keys(LIMITS)) {
    const [low, high] = LIMITS[key];
    take(key, Number, (x) => x >= low && x <= high && (key === "noise" || key === "turn" || Number.isInteger(x)));
  }
  take("start", (words) => words.split(",").map((x) => (x.trim() ? Number(x) : NaN)), (p) => p.length === 2 && p.every((x) => Math.abs(x) <= 1e6));
  if (!said.has("start") && (said.has("surface") || said.has("formula"))) state.start = null;
  take("schedule", String, (name) => Object.hasOwn(SCHEDULES, name));
  take("rules", (words) => parts(words).map(readEntry), (read) => read.length > 0 && read.length <= MOST_RULES && read.every((a, i) => a && read.slice(0, i).every((b) => !areTwins(a, b))));
  take("at", Number, (x) => Number.isInteger(x) && x >= 0);
  if (!said.has("at")) state.at = state.steps;
  state.at = Math.min(state.at, state.steps);
  take("follow", Number, Number.isInteger);
  state.follow = Math.min(Math.max(state.follow, 0), state.rules.length - 1);
  if (alone && lesson.panel) state.panel = lesson.panel;
  take("panel", String, (name) => PANELS.includes(name));
  take("lesson", Number, (k) => Number.isInteger(k) && k >= 0 && k <= LESSONS.length);
  take("tab", String, (name) => name === "surface" || name === "network");
  return state;
}

// The address of the current settings.
function writeState(state) {
  const said = new URLSearchParams();
  if (state.formula) said.set("formula", state.formula);
  else said.set("surface", state.surface);
  for (const key of ["turn", "steps", "schedule", "noise", "seed", "follow", "panel", "lesson", "tab"]) {
    if (state[key] !== START[key] || key === "steps") said.set(key, state[key]);
  }
  if (state.at !== state.steps) said.set("at", state.at);
  said.set("start", state.start.join(","));
  said.set("rules", state.rules.map((entry) => entryText(entry)).join(","));
  return said;
}

// Python code that computes the same numbers.
function pythonOf(state) {
  const real = (x) => String(x), text = JSON.stringify(state.formula || state.surface);
  const turn = state.turn ? `.turned(${real(state.turn)})` : "";
  const entries = state.rules.filter((entry) => !isNewton(entry)), newton = state.rules.find(isNewton);
  const switches = state.rules.filter(({ name }) => name.startsWith("switch"));
  const optimizer = (entry) => {
    if (!entry.name.startsWith("switch")) return `"${entryText(entry, false)}"`;
    const { at, then_ratio: ratio } = hyperOf(entry), [, first, then] = entry.name.match(/\((\w+),(\w+)\)/);
    return `switch(get("${first}"), get("${then}"), at=${at}, then_ratio=${ratio})`;
  };
  const name = (entry) => (entry.name.startsWith("switch") ? entry.name : entryText(entry, false));
  const walked = [
    "descent = steepest.trajectory(",
    "    surface,",
    `    [${entries.map(optimizer).join(", ")}],`,
    `    start=(${state.start.map(real).join(", ")}),`,
    `    steps=${state.steps},`,
    `    lrs={${entries.map((entry) => `"${name(entry)}": ${real(entry.lr)}`).join(", ")}},`,
    `    schedule="${state.schedule}",`,
    ...(state.noise ? [`    noise=${real(state.noise)},`, `    seed=${state.seed},`] : []),
    ")",
    "for path in descent.paths:",
    "    print(path.name, path.points[-1], path.values[-1])",
  ];
  const lines = [
    ...(newton ? ["import numpy as np"] : []),
    "import steepest",
    `from steepest import ${newton ? "schedules, " : ""}surfaces`,
    ...(switches.length ? ["from steepest.rules import get, switch"] : []),
    "",
    `surface = surfaces.get(${text})${turn}`,
    ...(entries.length ? walked : []),
    ...(newton ? newtonLines(newton, state) : []),
  ];
  return `${lines.join("\n")}\n`;
}

// Newton's method in NumPy: it needs a Hessian, so the library has no such rule.
function newtonLines({ lr }, { start, steps, schedule, noise, seed }) {
  const shake = noise ? ` + ${noise} * shaken[k]` : "";
  return [
    ...(noise ? [`shaken = np.random.RandomState(${seed}).standard_normal((${steps}, 2))`] : []),
    `rates = ${lr} * np.array(schedules.get("${schedule}").values(${steps}))`,
    `newton = [np.array([${start.join(", ")}], float)]`,
    "for k, rate in enumerate(rates):",
    "    p = newton[-1]",
    `    newton.append(p - rate * np.linalg.solve(surface.hessian(p), surface.gradient(p)${shake}))`,
    'print("newton", newton[-1], surface.value(newton[-1]))',
  ];
}

// The paths in the format of `steepest path --json`.
function jsonOf(state, paths) {
  const optimizers = paths.map(({ points, values, lostAt, count }, i) => {
    const upto = lostAt ?? count + 1, pairs = Array.from({ length: upto }, (_, k) => [points[2 * k], points[2 * k + 1]]);
    const data = { name: entryText(state.rules[i], false), lr: state.rules[i].lr, points: pairs };
    Object.assign(data, { values: Array.from(values.slice(0, upto)), diverged_at: lostAt });
    return lostAt === null ? { ...data, status: "it did not diverge" } : data;
  });
  return { surface: state.formula || (state.turn ? `${state.surface}.turned(${state.turn})` : state.surface), optimizers };
}

// The page's state, and what is recomputed when it changes.
let state = START, surface, paths = [], quadratic = null, bound = null, floor = null, ground, view, turnOfStart = 0;
let veiled = false; // paths are hidden until a lesson is answered
let stopWork = () => {}, playing = false, dragging = false;

const looks = () => state.rules.map(({ name }, i) => styleOf(name, state.rules.slice(0, i).filter((each) => each.name === name).length));
const labelOf = (entry) => entryText(entry, false);
const shortOf = (entry) => (state.rules.some((each) => each !== entry && each.name === entry.name) ? labelOf(entry) : entry.name);

// Recompute the surface, the paths or the picture; each then recomputes the next.
function changeSurface() {
  surface = surfaceOf(state);
  turnOfStart = state.turn;
  if (!state.start) state.start = standing(surface);
  const found = curvature(surface);
  quadratic = found?.smallest > 0 ? found : null;
  bound = quadratic && 2 / found.largest;
  const words = found && `A quadratic: its curvature runs from ${number(found.smallest)} to ${number(found.largest)}. `;
  const without = found?.smallest < 0 ? "It has no minimum: plain descent leaves it at any rate." : "It is not curved in every direction.";
  const about = bound ? `Plain descent needs a rate below 2/λ = ${number(bound)}.` : without;
  byId("bound").textContent = found ? words + about : "";
  const g = new Float64Array(2), least = Math.min(...surface.minima.map((p) => surface.f(p, g)));
  floor = surface.minima.length ? least : null;
  fit();
}

// The default start of a surface, or the nearest grid point where the surface is finite.
function standing({ f, start, domain: [[x0, x1], [y0, y1]] }) {
  const g = new Float64Array(2), fine = 24;
  if (Number.isFinite(f(start, g))) return [...start];
  const grid = Array.from({ length: (fine + 1) ** 2 }, (_, k) => [x0 + ((k % (fine + 1)) / fine) * (x1 - x0), y0 + (Math.floor(k / (fine + 1)) / fine) * (y1 - y0)]);
  const holds = grid.filter((p) => Number.isFinite(f(p, g)) && g.every(Number.isFinite));
  const away = (p) => Math.hypot(p[0] - start[0], p[1] - start[1]);
  return holds.length ? holds.reduce((best, p) => (away(p) < away(best) ? p : best)) : [...start];
}

// The height that a log axis is measured from; null for a linear axis.
const floorNow = () => (floor !== null && paths.some(({ values, last }) => values.subarray(0, last + 1).some((x) => x < floor - 1e-9)) ? null : floor);

// Recompute the view and the background after a change of surface, page size or colours.
function fit() {
  const canvas = byId("map");
  byId("map-box").style.setProperty("--shape", shapeOf(surface));
  view = viewOf(surface, state.start, canvas.clientWidth || 600, canvas.clientHeight || 500);
  ground = document.createElement("canvas");
  const found = groundOf(surface, view);
  drawGround(sized(ground, view.width, view.height), found, view);
  if (surface.own) {
    floor = found.lowest >= 0 ? 0 : null; // a guess: the minimum of a custom formula is unknown
  }
}

function changePaths() {
  const shaken = noiseOf(state.noise, state.seed, state.steps);
  paths = state.rules.map((entry) => pathOf(entry, surface, state, shaken));
  showLegend();
  draw();
}

function shown() {
  const all = looks();
  return veiled ? [] : paths.map((path, i) => ({ path, look: all[i], label: shortOf(state.rules[i]) }));
}

// Resize a canvas, sharp at any pixel density.
function sized(canvas, width, height) {
  const dense = Math.min(globalThis.devicePixelRatio || 1, 2), across = Math.round(width * dense), up = Math.round(height * dense);
  if (canvas.width !== across || canvas.height !== up) Object.assign(canvas, { width: across, height: up });
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  return context;
}

function drawMap(context) {
  drawFrame(context, surface, view);
  const all = shown();
  for (const { path, look } of all) drawPath(context, path, look, view, Math.floor(state.at / path.every));
}

let scaleOfHeights;
function draw() {
  const context = sized(byId("map"), view.width, view.height);
  context.drawImage(ground, 0, 0, view.width, view.height);
  drawMap(context);
  const canvas = byId("heights"), chart = sized(canvas, canvas.clientWidth, canvas.clientHeight);
  chart.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  scaleOfHeights = drawHeights(chart, canvas.clientWidth, canvas.clientHeight, shown(), { ...state, floor: floorNow() });
  say();
}

// Update the numbers beside the picture; `later` updates what can wait.
function say() {
  const [x, y] = state.start, handle = byId("start");
  handle.style.transform = `translate(${toX(view, x)}px, ${toY(view, y)}px)`;
  set("start-x", String(Number(x.toPrecision(6))));
  set("start-y", String(Number(y.toPrecision(6))));
  byId("at").value = state.at;
  byId("at-said").textContent = `${state.at} of ${state.steps}`;
  document.querySelectorAll("#rules .end").forEach((end, i) => (end.textContent = veiled ? "" : endSaid(paths[i])));
  if (state.panel === "step") sayStep();
  if (state.panel === "phase") sayPhase();
  byId("at").setAttribute("aria-valuetext", `${state.at} of ${state.steps} gradients`);
  if (!dragging) later();
}

function set(id, value) {
  const input = byId(id);
  if (document.activeElement !== input) input.value = value;
}

function endSaid({ values, every, last, lostAt, count }) {
  const k = Math.min(Math.floor(state.at / every), count);
  return lostAt !== null && k >= lostAt ? `diverged at step ${lostAt}` : number(values[Math.min(k, last)]);
}

// Update sentences, labels, the address and the open panel once nothing has changed for 200 ms.
let waiting, lookedAt = "";
function later() {
  clearTimeout(waiting);
  waiting = setTimeout(settle, 200);
  const asked = JSON.stringify([writeState({ ...state, at: state.steps }).toString(), veiled, view.width, dark()]);
  if (asked === lookedAt) return; // the slow panels do not depend on the step
  lookedAt = asked;
  stopWork();
  const slow = { rates, basins }[state.panel];
  if (slow) stopWork = inSlices(veiled ? nothing() : slow());
}

function settle() {
  const nowhere = !Number.isFinite(surface.f(state.start, new Float64Array(2)));
  const sentences = veiled
    ? ["Answer first; then the paths are shown."]
    : nowhere
      ? ["The surface has no finite height at the start; start elsewhere."]
      : paths.flatMap((path, i) => [...awaySaid(path, labelOf(state.rules[i])), ...(isNewton(state.rules[i]) ? indefiniteSaid(path) : [])]);
  byId("said").textContent = sentences.join(" ");
  const ends = veiled ? "" : paths.map((path, i) => `${labelOf(state.rules[i])} is at ${endSaid(path)}`).join(", ");
  const from = state.start.map((x) => number(x)).join(", "), where = `${state.formula || state.surface} from ${from}`;
  byId("map").setAttribute("aria-label", `Level lines of ${where} with a path for each rule. After ${state.at} gradients ${ends}.`);
  byId("heights").setAttribute("aria-label", `Height by gradients taken, on ${where}. At ${state.at} ${ends}.`);
  byId("start").setAttribute("aria-label", `Start at ${from}. Arrow keys move it.`);
  keepAddress();
}

function indefiniteSaid(path) {
  const found = indefiniteOn(path, surface);
  if (!found) return [];
  const { step, smallest, largest } = found, curves = `curvatures ${number(smallest, 3)} and ${number(largest, 3)}`;
  return [`At step ${step} newton meets a Hessian that is not positive definite (${curves}): the step goes towards a saddle or a maximum.`];
}

function awaySaid({ leavesAt, lostAt, every }, label) {
  if (leavesAt === null) return [];
  const gradients = every > 1 ? ` (${every} gradients each)` : "";
  if (lostAt === leavesAt) return [`${label} diverges at step ${lostAt}${gradients}.`];
  if (lostAt === null) return [`${label} leaves the frame at step ${leavesAt}${gradients}.`];
  return [`${label} leaves the frame at step ${leavesAt} and diverges at step ${lostAt}${gradients}.`];
}

function keepAddress() {
  const said = writeState(state);
  networkTab.write(said);
  try {
    history.replaceState(null, "", `#${said}`);
  } catch {
    // an embedded page has no address
  }
}

// Rebuild the page from the state: on loading, or after a change of surface, lesson or address.
function showAll() {
  stop();
  let said = "";
  try {
    changeSurface();
  } catch (error) {
    said = error.message;
    state.formula = "";
    state.start = null;
    changeSurface();
  }
  byId("formula-said").textContent = said;
  byId("formula").setAttribute("aria-invalid", Boolean(said));
  if (state.formula) state.formula = surface.formula;
  for (const entry of state.rules) entry.lr ??= tuned(entry, surface, state);
  set("name", state.formula ? "" : state.surface);
  set("formula", surface.formula);
  set("turn", state.turn);
  byId("turn-said").textContent = `${state.turn}°`;
  for (const id of NUMBERS) set(id, state[id]);
  set("schedule", state.schedule);
  set("lesson", state.lesson);
  byId("at").max = state.steps;
  choosePanel(state.panel);
  chooseTab(state.tab);
  showLesson();
  changeRules();
  changePaths();
  settle();
}

// The state without an address.
const firstState = () => readState(new URLSearchParams(FIRST.address).toString(), structuredClone(START));

function begins() {
  networkTab.init(byId("network"), keepAddress);
  connect();
  state = readState(location.hash.slice(1), firstState());
  networkTab.read(new URLSearchParams(location.hash.slice(1)));
  showAll();
}

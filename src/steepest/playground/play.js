// The page of surfaces: what it is set to, what that computes, and the controls that change it.
const CONTROLS = ["steps", "noise", "seed"];

let state = START, surface, paths = [], bound = null, floor = null, ground, view, turnOfStart = 0;
let veiled = false; // a lesson waits for its answer
let stopWork = () => {}, playing = false, dragging = false;

const looks = () => state.rules.map(({ name }, i) => styleOf(name, state.rules.slice(0, i).filter((each) => each.name === name).length));
const labelOf = (entry) => entryText(entry, false);
const shortOf = (entry) => (state.rules.some((each) => each !== entry && each.name === entry.name) ? labelOf(entry) : entry.name);

// What is computed: first the surface, then the paths, then the picture; each asks for the next.
function changeSurface() {
  surface = surfaceOf(state);
  turnOfStart = state.turn;
  if (!state.start) state.start = [...surface.start];
  const found = curvature(surface);
  bound = found && found.largest > 0 && found.smallest >= 0 ? 2 / found.largest : null;
  const words = found && `A quadratic: its curvature runs from ${number(found.smallest)} to ${number(found.largest)}. `;
  const about = bound ? `Plain descent needs a rate below 2/λ = ${number(bound)}.` : "It has no minimum: at no rate does plain descent stay.";
  byId("bound").textContent = found ? words + about : "";
  const g = new Float64Array(2), least = Math.min(...surface.minima.map((p) => surface.f(p, g)));
  floor = surface.minima.length ? least : null;
  fit();
}

// Finds the view and the ground again: the surface, the size of the page or the colours have changed.
function fit() {
  const canvas = byId("map");
  view = viewOf(surface, state.start, canvas.clientWidth || 600, canvas.clientHeight || 500);
  ground = document.createElement("canvas");
  const found = groundOf(surface, view);
  drawGround(sized(ground, view.width, view.height), found, view);
  if (surface.own) {
    const heights = found.bands.map(({ value }) => value);
    floor = heights.length && heights[0] >= 0 ? 0 : null; // a guess: nothing says where its minimum is
  }
}

function changePaths() {
  const shaken = noiseOf(state.noise, state.seed, state.steps);
  paths = state.rules.map((entry) => pathOf(entry, surface, state, shaken));
  draw();
}

function shown() {
  const all = looks();
  return veiled ? [] : paths.map((path, i) => ({ path, look: all[i], label: shortOf(state.rules[i]) }));
}

// A canvas of this many points, sharp on any screen.
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
  drawNames(context, all, view, state.at);
}

let scaleOfHeights;
function draw() {
  const context = sized(byId("map"), view.width, view.height);
  context.drawImage(ground, 0, 0, view.width, view.height);
  drawMap(context);
  const canvas = byId("heights"), chart = sized(canvas, canvas.clientWidth, canvas.clientHeight);
  chart.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  scaleOfHeights = drawHeights(chart, canvas.clientWidth, canvas.clientHeight, shown(), { ...state, floor });
  say();
}

// Numbers and words beside the picture. `later` holds what can wait until the pointer rests.
function say() {
  const [x, y] = state.start, handle = byId("start");
  handle.style.transform = `translate(${toX(view, x)}px, ${toY(view, y)}px)`;
  set("start-x", number(x).replace("−", "-"));
  set("start-y", number(y).replace("−", "-"));
  byId("at").value = state.at;
  byId("at-said").textContent = `${state.at} of ${state.steps}`;
  document.querySelectorAll("#rules .end").forEach((end, i) => (end.textContent = veiled ? "" : endSaid(paths[i])));
  if (state.panel === "step") sayStep();
  if (!dragging) later();
}

function set(id, value) {
  const input = byId(id);
  if (document.activeElement !== input) input.value = value;
}

function endSaid({ values, every, last, lostAt, count }) {
  const k = Math.min(Math.floor(state.at / every), count);
  return lostAt !== null && k >= lostAt ? `lost at step ${lostAt}` : number(values[Math.min(k, last)]);
}

// What can wait until the pointer rests: words, labels, the address; then the closer look that is open.
let waiting;
function later() {
  clearTimeout(waiting);
  waiting = setTimeout(settle, 200);
  stopWork();
  if (!veiled && state.panel !== "step") stopWork = inSlices(state.panel === "rates" ? rates() : basins());
}

function settle() {
  const sentences = veiled ? ["Answer first; then the paths are shown."] : paths.flatMap((path, i) => awaySaid(path, labelOf(state.rules[i])));
  byId("said").textContent = sentences.join(" ");
  const ends = veiled ? "" : paths.map((path, i) => `${labelOf(state.rules[i])} is at ${endSaid(path)}`).join(", ");
  const from = state.start.map((x) => number(x)).join(", "), where = `${state.formula || state.surface} from ${from}`;
  byId("map").setAttribute("aria-label", `Level lines of ${where} with a path for each rule. After ${state.at} gradients ${ends}.`);
  byId("heights").setAttribute("aria-label", `Height by gradients taken, on ${where}. At ${state.at} ${ends}.`);
  byId("start").setAttribute("aria-label", `Start at ${from}. Arrow keys move it.`);
  keepAddress();
}

function awaySaid({ leavesAt, lostAt, every }, label) {
  if (leavesAt === null) return [];
  const gradients = every > 1 ? ` (${every} gradients each)` : "";
  if (lostAt === null) return [`${label} leaves the frame at step ${leavesAt}${gradients}.`];
  return [`${label} leaves the frame at step ${leavesAt} and is lost at step ${lostAt}${gradients}.`];
}

function keepAddress() {
  const said = writeState(state);
  networkTab.write(said);
  try {
    history.replaceState(null, "", `#${said}`);
  } catch {
    // a page inside another has no address of its own
  }
}

// This step in real numbers: the lines of the rule's own function, in the letters of its paper.
const LETTERS = [
  [/\[i\]/g, ""], [/Math\.sqrt\(/g, "√("], [/√\((\w+)\)/g, "√$1"], [/Math\./g, ""], [/ \*\* /g, "^"], [/ \* /g, " · "], [/ - /g, " − "],
  [/\bbeta(\w?)\b/g, (_, k) => `β${{ "": "", 0: "₀", 1: "₁", 2: "₂", 3: "₃", _v: "ᵥ" }[k] ?? k}`], [/\bweight_decay\b/g, "λ"],
  [/\beps\b/g, "ε"], [/\balpha\b/g, "α"], [/\brho\b/g, "ρ"], [/\bmu\b/g, "μ"], [/\bp(?=\b|_t|1)/g, "θ"], [/(\w)_hat\b/g, "$1\u0302"],
  [/_t\b/g, "ₜ"], [/\b([a-zθ])1\b/g, "$1′"], [/^Δ$/, "Δθ"],
];
const inLetters = (text) => LETTERS.reduce((said, [from, to]) => said.replace(from, to), text);

function sayStep() {
  const panel = byId("panel-step"), entry = state.rules[state.follow], path = paths[state.follow];
  const k = Math.min(Math.floor(state.at / path.every), path.last);
  if (veiled || k < 1) {
    panel.replaceChildren(el("p", { class: "hint" }, veiled ? "Answer first." : "No step is taken yet: step on to see its numbers."));
    return;
  }
  const { lines, rate, t } = stepNumbers(entry, surface, state, k);
  const rows = lines.map(({ name, formula, value }) => {
    const values = Array.isArray(value) ? value : [value];
    const cells = values.map((x) => el("td", values.length === 1 ? { colspan: 2 } : {}, typeof x === "boolean" ? (x ? "yes" : "no") : number(x)));
    return el("tr", {}, el("th", { scope: "row" }, inLetters(name)), el("td", {}, inLetters(formula)), ...cells);
  });
  const head = el("tr", {}, ...["", "", "x", "y"].map((word) => (word ? el("th", { scope: "col" }, word) : el("td"))));
  const caption = el("caption", {}, `${labelOf(entry)}, step ${t}, rate ${number(rate)}`);
  panel.replaceChildren(el("table", {}, caption, el("thead", {}, head), el("tbody", {}, ...rows)));
}

// The sweep of rates and the map of basins, in slices.
const RATES = Array.from({ length: 61 }, (_, k) => 10 ** (-5 + k / 10));
let scaleOfRates;
function* rates() {
  const table = [], canvas = byId("sweep"), entry = state.rules[state.follow];
  byId("rates-said").textContent = `The last height at each rate; where a line stops, the path is lost. A click, or the arrow keys, gives ${labelOf(entry)} that rate.`;
  canvas.setAttribute("aria-label", `Last height by rate. ${labelOf(entry)} has ${number(entry.lr)}; left and right change it.`);
  const show = () => {
    const context = sized(canvas, canvas.clientWidth, canvas.clientHeight);
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    scaleOfRates = drawSweep(context, canvas.clientWidth, canvas.clientHeight, {
      entries: state.rules, looks: looks(), table, rates: RATES, floor, bound, follow: state.follow,
    });
  };
  yield* sweepOf(state.rules, surface, state, RATES, table);
  show();
}

function* basins() {
  const canvas = byId("basins"), entry = state.rules[state.follow], [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const small = viewOf(surface, null, width, height), columns = 44, rows = Math.round((columns * height) / width);
  const cells = new Int8Array(columns * rows).fill(-2), ends = surface.minima.map((point) => [...point]);
  const show = () => drawBasins(sized(canvas, width, height), width, height, {
    columns, rows, cells, ends, view: small, start: state.start, look: looks()[state.follow],
  });
  byId("basins-said").textContent = `Where ${labelOf(entry)} ends from each start; a stroke: lost, blank: still on its way. A click, or the arrow keys, starts there.`;
  basinsView = { ...small, width, height, columns, rows };
  let drawn = performance.now();
  for (const _ of basinsOf(entry, surface, state, small, columns, rows, cells, ends)) {
    if (performance.now() - drawn > 150) {
      show();
      drawn = performance.now();
    }
    yield;
  }
  show();
  const counts = ends.map((_, k) => `${"ABCDEFG"[k]} from ${cells.filter((cell) => cell === k).length}`);
  canvas.setAttribute("aria-label", `Of ${cells.length} starts: ${counts.join(", ")}; lost ${cells.filter((cell) => cell === -1).length}.`);
}
let basinsView;

// The list of rules.
function changeRules() {
  const all = looks();
  byId("rules").replaceChildren(...state.rules.map((entry, i) => row(entry, i, all[i])));
  const there = new Set(state.rules.map(labelOf));
  byId("add").replaceChildren(
    el("option", { value: "" }, "Add a rule …"),
    ...Object.values(RULES).map(({ name, apart, reach }) =>
      el("option", { value: name, disabled: Boolean(apart) || there.has(name) }, apart ? `${name}: needs a matrix` : reach === "model" ? `${name} (asks or means over all)` : name),
    ),
  );
}

function row(entry, i, look) {
  const label = labelOf(entry), rate = el("input", { type: "number", step: "any", min: 0, value: entry.lr, "aria-label": `Rate of ${label}` });
  const slider = el("input", { type: "range", min: -5, max: 1.5, step: 0.01, value: Math.log10(entry.lr), "aria-label": `Rate of ${label}, fine` });
  const give = (lr) => {
    if (!(Number.isFinite(lr) && lr > 0 && lr <= 1e6)) return;
    entry.lr = lr;
    if (document.activeElement !== rate) rate.value = Number(lr.toPrecision(4));
    if (document.activeElement !== slider) slider.value = Math.log10(lr);
    rate.setAttribute("aria-invalid", "false");
    changePaths();
  };
  rate.oninput = () => (rate.value > 0 ? give(Number(rate.value)) : rate.setAttribute("aria-invalid", "true"));
  slider.oninput = () => give(Number((10 ** slider.value).toPrecision(3)));
  const step = (up, sign) => el("button", { type: "button", "aria-label": `${up > 0 ? "Raise" : "Lower"} the rate of ${label}`, onclick: () => give(ladder(entry.lr, up)) }, sign);
  const name = el("button", { type: "button", class: "name", "aria-pressed": state.follow === i, title: RULES[entry.name].reference, onclick: () => follow(i) }, swatch(look), nameOf(entry));
  const off = el("button", { type: "button", class: "off", "aria-label": `Remove ${label}`, disabled: state.rules.length < 2, onclick: () => remove(i) }, "✕");
  const said = el("p", { class: "mistake", role: "alert" });
  const fields = RULES[entry.name].offered.map((k) => field(entry, k, said));
  const more = el("div", { class: "more", hidden: true }, el("div", { class: "hyper" }, ...fields), said);
  const open = el("button", { type: "button", class: "off", "aria-expanded": false, "aria-label": `Hyperparameters of ${label}`, title: "Hyperparameters", disabled: !fields.length }, "⋯");
  open.onclick = () => {
    more.hidden = !more.hidden;
    open.setAttribute("aria-expanded", !more.hidden);
  };
  return el(
    "li",
    { class: state.follow === i ? "followed" : "" },
    el("div", { class: "top" }, name, el("span", { class: "end" }), open, off),
    el("div", { class: "rate" }, el("span", {}, "rate"), step(-1, "−"), rate, step(1, "+"), slider),
    more,
  );
}

// The name, and small beside it what is set otherwise.
const nameOf = (entry) => el("span", {}, entry.name, el("small", {}, labelOf(entry).slice(entry.name.length)));

function field(entry, k, said) {
  const rule = RULES[entry.name], standing = hyperOf(entry)[k], words = rule.domains[k]?.[3] ?? "";
  const kind = typeof rule.hyper[k] === "boolean" ? { type: "checkbox", checked: standing } : { type: "number", step: "any", value: standing };
  const [low, high] = rule.domains[k] ?? [null, null];
  const input = el("input", { ...kind, min: low, max: high, title: words });
  input.onchange = () => {
    const value = input.type === "checkbox" ? input.checked : input.value === "" ? NaN : Number(input.value);
    const hyper = { ...entry.hyper, [k]: value };
    if (value === rule.hyper[k]) delete hyper[k];
    const twin = state.rules.some((each) => each !== entry && labelOf(each) === labelOf({ ...entry, hyper }));
    const why = refusal(entry.name, hyperOf({ ...entry, hyper })) || (twin ? "this rule is in the list already, set the same" : "");
    said.textContent = why && `${why}.`.replace("..", ".");
    input.setAttribute("aria-invalid", Boolean(why));
    if (why) return;
    entry.hyper = hyper;
    document.querySelectorAll("#rules .name")[state.rules.indexOf(entry)].lastChild.replaceWith(nameOf(entry));
    changePaths();
  };
  return el("label", { class: input.type === "checkbox" ? "tick" : "" }, ...(input.type === "checkbox" ? [input, k] : [k, input]));
}

// How a rule is drawn, small: its line and its marker.
function swatch({ colour, dash, marker }) {
  const canvas = { path: "", beginPath() {}, closePath() { this.path += "Z"; } };
  Object.assign(canvas, {
    moveTo(x, y) { this.path += `M${x.toFixed(1)} ${y.toFixed(1)}`; },
    lineTo(x, y) { this.path += `L${x.toFixed(1)} ${y.toFixed(1)}`; },
    rect(x, y, w, h) { this.path += `M${x} ${y}h${w}v${h}h${-w}`; },
    arc(x, y, r) { this.path += `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`; },
  });
  outline(canvas, marker, 17, 7, 4.5);
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
    return made;
  };
  const svg = make("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" });
  svg.append(make("path", { d: "M0 7H34", stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash.join(" ") }), make("path", { d: canvas.path, fill: colour }));
  return svg;
}

function follow(i) {
  state.follow = i;
  document.querySelectorAll("#rules>li").forEach((item, k) => {
    item.className = k === i ? "followed" : "";
    item.querySelector(".name").setAttribute("aria-pressed", k === i);
  });
  say();
}

function remove(i) {
  state.rules.splice(i, 1);
  state.follow = Math.min(state.follow >= i ? Math.max(state.follow - 1, 0) : state.follow, state.rules.length - 1);
  changeRules();
  changePaths();
  document.querySelectorAll("#rules .name")[Math.min(i, state.rules.length - 1)].focus();
}

function tuneAll() {
  const waits = state.rules.map((entry) => () => (entry.lr = tuned(entry, surface, state)));
  for (const wait of waits) wait();
  changeRules();
  changePaths();
}

// Everything anew from the state: at the start, after another surface or lesson, or an address.
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
  for (const entry of state.rules) entry.lr ??= tuned(entry, surface, state);
  set("name", state.formula ? "" : state.surface);
  set("formula", surface.formula);
  set("turn", state.turn);
  byId("turn-said").textContent = `${state.turn}°`;
  for (const id of CONTROLS) set(id, state[id]);
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

// Transport.
function goTo(at) {
  state.at = Math.min(Math.max(at, 0), state.steps);
  draw();
}

function stop() {
  playing = false;
  const button = byId("play");
  button.textContent = "▶";
  button.setAttribute("aria-label", "Play");
}

function play() {
  if (playing) return stop();
  if (state.at >= state.steps) state.at = 0;
  playing = true;
  byId("play").textContent = "❚❚";
  byId("play").setAttribute("aria-label", "Pause");
  let then = performance.now(), owed = 0;
  const on = (now) => {
    if (!playing) return;
    owed += ((now - then) / 1000) * Number(byId("speed").value);
    then = now;
    const whole = Math.floor(owed);
    owed -= whole;
    if (whole) goTo(state.at + whole);
    if (state.at >= state.steps) return stop();
    if (still()) setTimeout(() => on(performance.now()), 700);
    else requestAnimationFrame(on);
  };
  if (still()) setTimeout(() => on(performance.now()), 700);
  else requestAnimationFrame(on);
}

// Where the start may be put, and what follows it.
function startAt(x, y) {
  if (!(Number.isFinite(x) && Number.isFinite(y))) return;
  state.start = [x, y];
  changePaths();
}

const exact = (x, span) => Number(x.toFixed(Math.max(3 - Math.floor(Math.log10(span)), 0))); // as fine as a pixel, and short

function drag(event) {
  const box = byId("map").getBoundingClientRect();
  const x = Math.min(Math.max(event.clientX - box.left, 0), view.width), y = Math.min(Math.max(event.clientY - box.top, 0), view.height);
  const span = view.x1 - view.x0;
  startAt(exact(fromX(view, x), span), exact(fromY(view, y), span));
}

function draggable(element) {
  element.onpointerdown = (event) => {
    if (event.button) return;
    event.preventDefault();
    byId("start").focus({ preventScroll: true, focusVisible: false });
    element.setPointerCapture(event.pointerId);
    dragging = true;
    stop();
    stopWork();
    drag(event);
  };
  element.onpointermove = (event) => dragging && drag(event);
  element.onpointerup = element.onpointercancel = () => {
    if (!dragging) return;
    dragging = false;
    later();
  };
}

// Tabs as people expect them: a click, or the arrow keys.
function tabs(list, chosen) {
  const buttons = [...list.querySelectorAll("[role=tab]")];
  buttons.forEach((button, k) => {
    button.onclick = () => chosen(button.id.replace("tab-", ""));
    button.onkeydown = ({ key }) => {
      const next = buttons[(k + { ArrowRight: 1, ArrowLeft: -1 }[key] + buttons.length) % buttons.length];
      if (next) next.focus(), next.click();
    };
  });
}

function pick(names, name) {
  for (const each of names) {
    const tab = byId(`tab-${each}`), on = each === name;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !on;
  }
}

function choosePanel(name) {
  state.panel = name;
  pick(PANELS, name);
}

function chooseTab(name) {
  state.tab = name;
  pick(["surface", "network"], name);
  for (const id of ["lesson-choice", "copy-python", "save-png", "save-svg", "save-json"]) byId(id).hidden = name === "network";
  if (name === "network") stop(), networkTab.show();
  else networkTab.hide();
}

// Lessons: the answer first, then the paths.
function showLesson(answer = null) {
  const card = byId("lesson-card"), lesson = LESSONS[state.lesson - 1];
  card.hidden = !lesson;
  veiled = Boolean(lesson) && answer === null && !lesson.after;
  if (!lesson) return;
  const look = lookAt(lesson.look);
  const options = lesson.options.map(([text, holds], k) => {
    const right = answer !== null && holds(look), mark = answer === null ? "" : right ? "right" : k === answer ? "wrong" : "";
    const signs = { right: "✓ ", wrong: "✗ " };
    return el("button", { type: "button", class: mark, "aria-pressed": k === answer, disabled: answer !== null, onclick: () => answered(k) }, `${signs[mark] ?? ""}${text}`);
  });
  const parts = [el("h2", {}, `${state.lesson} of ${LESSONS.length} · ${lesson.title}`), el("p", {}, lesson.sentence), el("p", { class: "question", id: "question" }, lesson.question)];
  parts.push(el("div", { class: "options", role: "group", "aria-labelledby": "question" }, ...options));
  if (answer !== null) {
    const holds = lesson.options[answer][1](look), said = el("p", { id: "reveal", tabindex: -1 }, el("strong", {}, holds ? "Right. " : "Not so. "), lesson.reveal(look));
    const go = (k, text) => el("button", { type: "button", onclick: () => toLesson(k) }, text);
    parts.push(said, el("div", { class: "on" }, go(state.lesson, "Again"), state.lesson < LESSONS.length ? go(state.lesson + 1, "Next lesson") : go(0, "To the playground")));
  }
  card.replaceChildren(...parts);
}

function answered(k) {
  const lesson = LESSONS[state.lesson - 1];
  if (lesson.after) {
    const number = state.lesson;
    state = { ...readState(lesson.after, START), lesson: number, panel: state.panel };
    showAll();
  }
  showLesson(k);
  state.at = still() ? state.steps : 0;
  changePaths();
  byId("reveal").focus();
  if (!still()) play();
}

function toLesson(k) {
  const { panel } = state;
  state = { ...(k ? readState(LESSONS[k - 1].look, START) : readState("", { ...START, rules: structuredClone(START.rules) })), lesson: k, panel };
  if (k) state.follow = state.rules.length - 1;
  showAll();
}

// Taking it along.
async function copy(title, text) {
  byId("code-title").textContent = title;
  byId("code").querySelector("pre").textContent = text;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    byId("code-title").textContent = title.replace("Copied", "Select and copy");
  }
  byId("code").showModal();
}

function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = el("a", { href: URL.createObjectURL(blob), download: `steepest-${(state.formula ? "formula" : state.surface).replace(/\W+/g, "-")}.${name}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}

// The map, and the heights beside it, on one sheet.
function drawSheet(context) {
  const wide = 460, high = Math.min(view.height, 340);
  drawGround(context, groundOf(surface, view), view);
  drawMap(context);
  outline(context, "circle", toX(view, state.start[0]), toY(view, state.start[1]), 7);
  context.fillStyle = inks().paper;
  context.fill();
  context.strokeStyle = inks().ink;
  context.lineWidth = 3;
  context.stroke();
  context.fillStyle = inks().paper;
  context.fillRect(view.width, 0, wide, view.height);
  context.save();
  context.translate(view.width + 8, 4);
  drawHeights(context, wide - 12, high, shown(), { ...state, floor });
  context.restore();
}

const SHEET = 460;
function savePng() {
  const canvas = document.createElement("canvas"), context = sized(canvas, view.width + SHEET, view.height);
  drawSheet(context);
  canvas.toBlob((blob) => save("png", blob));
}

function svgText() {
  const context = new KEPT.SvgContext(view.width + SHEET, view.height);
  drawSheet(context);
  return context.getSerializedSvg();
}

function connect() {
  const names = el("option", { value: "" }, "your own formula");
  byId("name").append(...Object.keys(SURFACES).map((name) => el("option", { value: name }, name)), names);
  byId("schedule").append(...SCHEDULE_NAMES.map((name) => el("option", { value: name }, name)));
  byId("lesson").append(el("option", { value: 0 }, "none"), ...LESSONS.map(({ title }, k) => el("option", { value: k + 1 }, `${k + 1} ${title}`)));
  byId("name").onchange = ({ target }) => {
    if (!target.value) return byId("formula").focus();
    Object.assign(state, { surface: target.value, formula: "", start: null, turn: 0, lesson: 0 });
    for (const entry of state.rules) entry.lr = null;
    showAll();
  };
  byId("formula").onchange = ({ target }) => {
    try {
      const own = surfaceOfFormula(target.value.trim());
      Object.assign(state, { formula: own.formula, start: null, turn: 0, lesson: 0 });
      for (const entry of state.rules) entry.lr = null;
      showAll();
      target.setAttribute("aria-invalid", "false");
    } catch (error) {
      byId("formula-said").textContent = error.message;
      target.setAttribute("aria-invalid", "true");
    }
  };
  byId("turn").oninput = ({ target }) => {
    state.turn = Number(target.value);
    state.start = rotated(state.start, plainSurface(state), state.turn - turnOfStart);
    byId("turn-said").textContent = `${state.turn}°`;
    changeSurface();
    changePaths();
  };
  for (const [id, place] of [["start-x", 0], ["start-y", 1]]) {
    byId(id).oninput = ({ target }) => {
      const x = target.value === "" ? NaN : Number(target.value), at = [...state.start];
      target.setAttribute("aria-invalid", !(Math.abs(x) <= 1e6));
      if (!(Math.abs(x) <= 1e6)) return;
      at[place] = x;
      state.start = at;
      fit();
      changePaths();
    };
  }
  for (const id of CONTROLS) {
    byId(id).oninput = ({ target }) => {
      const x = target.value === "" ? NaN : Number(target.value), [low, high] = LIMITS[id], whole = id !== "noise";
      const holds = x >= low && x <= high && (!whole || Number.isInteger(x));
      target.setAttribute("aria-invalid", !holds);
      byId("run-said").textContent = holds ? "" : `${target.parentElement.firstChild.textContent.trim()} is a ${whole ? "whole " : ""}number from ${low} to ${number(high)}.`;
      if (!holds) return;
      const atEnd = state.at === state.steps;
      state[id] = x;
      if (id === "steps") {
        state.at = atEnd ? x : Math.min(state.at, x);
        byId("at").max = x;
      }
      changePaths();
    };
  }
  byId("schedule").onchange = ({ target }) => {
    state.schedule = target.value;
    changePaths();
  };
  byId("add").onchange = ({ target }) => {
    const name = target.value;
    target.value = "";
    byId("rules-said").textContent = state.rules.length >= MOST_RULES ? `${MOST_RULES} rules are the most at once; remove one first.` : "";
    if (!name || state.rules.length >= MOST_RULES) return;
    const entry = { name, lr: null, hyper: {} };
    entry.lr = tuned(entry, surface, state);
    state.rules.push(entry);
    state.follow = state.rules.length - 1;
    changeRules();
    changePaths();
  };
  byId("tune").onclick = tuneAll;
  byId("lesson").onchange = ({ target }) => toLesson(Number(target.value));
  byId("first").onclick = () => (stop(), goTo(0));
  byId("back").onclick = () => (stop(), goTo(state.at - 1));
  byId("play").onclick = play;
  byId("forward").onclick = () => (stop(), goTo(state.at + 1));
  byId("last").onclick = () => (stop(), goTo(state.steps));
  byId("at").oninput = ({ target }) => (stop(), goTo(Number(target.value)));
  draggable(byId("start"));
  draggable(byId("map"));
  byId("start").onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const step = ((view.x1 - view.x0) / 100) * (event.shiftKey ? 5 : 1), span = view.x1 - view.x0;
    startAt(exact(state.start[0] + step * way[0], span), exact(state.start[1] + step * way[1], span));
  };
  const cursor = (event) => {
    const { box, across } = scaleOfHeights, x = event.clientX - byId("heights").getBoundingClientRect().left;
    stop();
    goTo(Math.round(across.invert(Math.min(Math.max(x, box.left), box.right))));
  };
  byId("heights").onpointermove = (event) => (event.pointerType === "mouse" || event.buttons) && !playing && cursor(event);
  byId("heights").onpointerdown = cursor;
  tabs(document.querySelector("header [role=tablist]"), (name) => {
    chooseTab(name);
    keepAddress();
    if (name === "surface") fit(), draw();
  });
  tabs(document.querySelector("#right [role=tablist]"), (name) => {
    choosePanel(name);
    say();
  });
  const giveRate = (lr) => {
    state.rules[state.follow].lr = lr;
    changeRules();
    changePaths();
  };
  byId("sweep").onclick = (event) => {
    if (!scaleOfRates) return;
    const x = event.clientX - byId("sweep").getBoundingClientRect().left;
    giveRate(Number(Math.min(Math.max(scaleOfRates.across.invert(x), RATES[0]), RATES.at(-1)).toPrecision(2)));
  };
  byId("sweep").onkeydown = (event) => {
    const up = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (up) giveRate(Number((state.rules[state.follow].lr * 10 ** (up / 10)).toPrecision(2)));
    if (up) event.preventDefault();
  };
  const startIn = (x, y) => startAt(exact(fromX(basinsView, x), basinsView.x1 - basinsView.x0), exact(fromY(basinsView, y), basinsView.x1 - basinsView.x0));
  byId("basins").onclick = (event) => {
    const box = byId("basins").getBoundingClientRect();
    if (basinsView) startIn(event.clientX - box.left, event.clientY - box.top);
  };
  byId("basins").onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || !basinsView) return;
    event.preventDefault();
    const { width, height, columns, rows } = basinsView;
    startIn(toX(basinsView, state.start[0]) + (way[0] * width) / columns, toY(basinsView, state.start[1]) + (way[1] * height) / rows);
  };
  byId("copy-link").onclick = () => (keepAddress(), copy("Copied: the address of what you see", location.href));
  byId("copy-python").onclick = () => copy("Copied: Python that gives the same numbers", pythonOf(state));
  byId("save-png").onclick = savePng;
  byId("save-svg").onclick = () => save("svg", svgText(), "image/svg+xml");
  byId("save-json").onclick = () => save("json", JSON.stringify(jsonOf(state, paths)), "application/json");
  new ResizeObserver(() => {
    if (byId("map").clientWidth) fit(), draw();
  }).observe(byId("map-box"));
  scheme.addEventListener("change", () => (fit(), changeRules(), draw()));
  addEventListener("hashchange", () => {
    state = readState(location.hash.slice(1), state);
    networkTab.read(new URLSearchParams(location.hash.slice(1)));
    showAll();
  });
}

function begins() {
  networkTab.init(byId("network"), keepAddress);
  connect();
  state = readState(new URLSearchParams(FIRST.address).toString(), structuredClone(START));
  state = readState(location.hash.slice(1), state);
  networkTab.read(new URLSearchParams(location.hash.slice(1)));
  showAll();
}

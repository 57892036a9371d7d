// Momentum on a quadratic: the map of rate and momentum, what the path does along each eigenvector, and the theory beside it.
const REGIONS = [
  { name: "over-damped in both directions", light: "#cfe3f3", dark: "#1d3a52" },
  { name: "over-damped along the flat one only", light: "#c9ead9", dark: "#1c4a3a" },
  { name: "over-damped in neither", light: "#fdeab6", dark: "#574515" },
  { name: "diverging", light: "#d9a892", dark: "#5e2a17" },
];
const LEVELS_OF_FACTOR = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
const AXIS_LOOKS = [{ colour: "#0072B2", dash: [], marker: "circle" }, { colour: "#D55E00", dash: [7, 4], marker: "square" }]; // flat, steep
let scaleOfPhase = null;

// The rule that the map moves: the followed one if it is plain momentum, else the first of the list that is; -1 if none is.
const phaseRule = () => (isHeavyBall(state.rules[state.follow]) ? state.follow : state.rules.findIndex(isHeavyBall));

// Regions of the plane of rate and momentum, lines of equal factor, the best point as a star, and the rule's own point.
function drawPhase(draw, width, height, { quadratic, rate, momentum, look }) {
  const { paper, soft } = inks(), shade = dark() ? "dark" : "light", box = { left: 40, right: width - 12, top: 22, bottom: height - 36 };
  const most = 4.2 / quadratic.largest, best = bestMomentum(quadratic);
  draw.clearRect(0, 0, width, height);
  const { across, up } = drawAxes(draw, box, { low: 0, high: most, name: "rate η" }, { low: 0, high: 1, name: "momentum β" });
  draw.save();
  draw.beginPath();
  draw.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  draw.clip();
  draw.fillStyle = REGIONS[3][shade];
  draw.fillRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  const rows = Array.from({ length: 101 }, (_, k) => (k / 100) ** 2); // closer together where the borders bend
  for (const region of [2, 1, 0]) {
    draw.beginPath();
    draw.moveTo(across(0), up(1));
    draw.lineTo(across(0), up(0));
    for (const row of rows) draw.lineTo(across(Math.min(regionsAt(row, quadratic)[region], 10 * most)), up(row));
    draw.closePath();
    draw.fillStyle = REGIONS[region][shade];
    draw.fill();
  }
  drawLevels(draw, quadratic, across, up);
  star(draw, across(best.rate), up(best.momentum));
  const [px, py] = [across(Math.min(rate, most)), up(Math.min(momentum, 1))];
  outline(draw, "circle", px, py, 8);
  draw.fillStyle = look.colour;
  draw.fill();
  draw.strokeStyle = paper;
  draw.lineWidth = 2.5;
  draw.stroke();
  draw.restore();
  draw.strokeStyle = soft;
  draw.lineWidth = 1;
  draw.strokeRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  return { across, up, most };
}

function drawLevels(draw, quadratic, across, up) {
  const { ink } = inks();
  draw.strokeStyle = draw.fillStyle = ink;
  draw.font = "11px system-ui, sans-serif";
  draw.textAlign = "center";
  for (const level of LEVELS_OF_FACTOR) {
    const corners = levelOf(level, quadratic);
    if (!corners.length) continue;
    draw.beginPath();
    corners.forEach(([x, y], k) => draw[k ? "lineTo" : "moveTo"](across(x), up(y)));
    draw.closePath();
    draw.globalAlpha = 0.45;
    draw.lineWidth = 1;
    draw.stroke();
    draw.globalAlpha = 0.8;
    const [[right, top], [left]] = corners.slice(-2);
    if (across(right) - across(left) > 40) draw.fillText(String(level), across((left + right) / 2), up(top) - 3);
  }
  draw.globalAlpha = 1;
}

// The coordinates along both eigenvectors by step, on a log axis, to the cursor in full and after it faint.
function drawAlong(draw, width, height, { coordinates, quadratic, at, steps }) {
  const { ink } = inks(), box = { left: 46, right: width - 14, top: 24, bottom: height - 36 };
  const sizes = coordinates.flatMap((along) => Array.from(along, Math.abs)).filter((x) => x > 0);
  const high = Math.max(...sizes, 1e-3), low = Math.max(Math.min(...sizes, high / 10), high * 1e-16);
  draw.clearRect(0, 0, width, height);
  const { across, up } = drawAxes(draw, box, { low: 0, high: steps, name: "steps" }, { low, high, log: true, name: "distance from the minimum" });
  draw.save();
  draw.beginPath();
  draw.rect(box.left, box.top - 4, box.right - box.left, box.bottom - box.top + 8);
  draw.clip();
  coordinates.forEach((along, i) => {
    draw.beginPath();
    along.forEach((x, k) => draw[k ? "lineTo" : "moveTo"](across(k), up(Math.max(Math.abs(x), low / 10))));
    draw.setLineDash(AXIS_LOOKS[i].dash);
    draw.strokeStyle = AXIS_LOOKS[i].colour;
    draw.lineWidth = 1.8;
    draw.stroke();
    draw.setLineDash([]);
    const k = Math.min(at, along.length - 1);
    mark(draw, AXIS_LOOKS[i], across(k), up(Math.max(Math.abs(along[k]), low)), 4);
  });
  draw.restore();
  draw.strokeStyle = ink;
  draw.lineWidth = 1;
  draw.beginPath();
  draw.moveTo(across(at), box.top - 4);
  draw.lineTo(across(at), box.bottom);
  draw.stroke();
  draw.font = FONT;
  draw.textAlign = "right";
  let right = box.right;
  for (const [i, curvature] of [...quadratic.curvatures.entries()].reverse()) {
    const words = `λ = ${number(curvature, 3)}`, y = box.top - 12;
    draw.fillStyle = ink;
    draw.fillText(words, right, y + 4);
    right -= draw.measureText(words).width + 10;
    mark(draw, AXIS_LOOKS[i], right, y, 4);
    right -= 14;
  }
}

// Redraw the panel after a change of the paths or the cursor.
function sayPhase() {
  const place = phaseRule(), shown = quadratic && place >= 0 && !veiled;
  byId("phase-shown").hidden = !shown;
  byId("phase-add").hidden = veiled || !quadratic || place >= 0;
  const why = !quadratic ? "For a quadratic with a minimum, such as bowl, valley or booth." : "No rule in the list is plain momentum.";
  const label = shown ? labelOf(state.rules[place]) : "", drags = `Drag the point, or use the arrow keys: it sets the rate and the momentum of ${label}.`;
  byId("phase-said").textContent = veiled ? "Answer first." : shown ? drags : why;
  scaleOfPhase = null;
  if (!shown) return;
  const entry = state.rules[place], { lr: rate, momentum } = hyperOf(entry), path = paths[place], canvas = byId("phase");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  scaleOfPhase = drawPhase(sized(canvas, width, height), width, height, { quadratic, rate, momentum, look: looks()[place] });
  const { smallest, largest } = quadratic, curvatures = [smallest, largest], coordinates = alongAxes(path, quadratic);
  const chart = byId("along"), at = Math.min(state.at, path.last);
  drawAlong(sized(chart, chart.clientWidth, chart.clientHeight), chart.clientWidth, chart.clientHeight, {
    coordinates, quadratic: { curvatures }, at, steps: state.steps,
  });
  const reach = Math.hypot(...quadratic.minimum), damping = curvatures.map((curvature) => dampingOf(rate, momentum, curvature));
  const measured = [...coordinates.map((along) => measuredFactor([along], reach)), measuredFactor(coordinates, reach)];
  const factor = factorOf(rate, momentum, quadratic), theory = [...damping.map((each) => each.factor), factor];
  sayFactors(curvatures, damping, measured, theory);
  const best = bestMomentum(quadratic), from = state.noise || state.schedule !== "constant" ? " The theory is for a constant rate without noise." : "";
  const kappa = `κ = ${number(largest / smallest, 3)}`;
  byId("phase-theory").textContent =
    `Best point ★: rate ${number(best.rate, 3)}, momentum ${number(best.momentum, 3)}, factor (√κ − 1)/(√κ + 1) = ${number(best.factor, 3)} for ${kappa}. ` +
    `Without momentum the best is (κ − 1)/(κ + 1) = ${number(best.plain, 3)}.${from}`;
  canvas.setAttribute("aria-label", `Rate ${number(rate, 3)} and momentum ${number(momentum, 3)} of ${label}: ${REGIONS[regionAt(rate, momentum)].name}. Arrow keys move the point.`);
  chart.setAttribute("aria-label", `Distance from the minimum along each eigenvector by step, of ${label}.`);
}

function regionAt(rate, momentum) {
  const place = regionsAt(momentum, quadratic).findIndex((border) => rate < border);
  return place < 0 ? 3 : place;
}

// A row for each eigenvector and one for the whole path: how it is damped, and its factor per step as measured and in theory.
function sayFactors(curvatures, damping, measured, theory) {
  const names = ["flat", "steep", "both"], words = [...damping.map(({ regime }) => regime), ""];
  const rows = names.map((name, i) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, i < 2 ? number(curvatures[i], 3) : ""), el("td", {}, words[i]),
      el("td", {}, measured[i] === null ? "–" : number(measured[i], 4)), el("td", {}, number(theory[i], 4))),
  );
  byId("phase-factors").replaceChildren(...rows);
}

// Set the rate and the momentum of the rule on the map.
function setPhase(rate, momentum) {
  const entry = state.rules[phaseRule()], lr = Number(Math.max(rate, 1e-6).toPrecision(4));
  const hyper = { ...entry.hyper, momentum: Number(Math.min(Math.max(momentum, 0), 0.999).toFixed(3)) };
  if (hyper.momentum === RULES[entry.name].hyper.momentum) delete hyper.momentum;
  if (isTwin({ ...entry, hyper }, entry)) return;
  Object.assign(entry, { lr, hyper });
  changeRules();
  changePaths();
}

function connectPhase() {
  const canvas = byId("phase");
  byId("phase-regions").append(...REGIONS.map(({ name, light, dark: night }) => el("li", {}, el("span", { style: `--light:${light};--dark:${night}` }), name)));
  const drag = (event) => {
    if (!scaleOfPhase) return;
    const { left, top } = canvas.getBoundingClientRect(), { across, up, most } = scaleOfPhase;
    setPhase(Math.min(Math.max(across.invert(event.clientX - left), most / 500), most), up.invert(event.clientY - top));
  };
  canvas.onpointerdown = (event) => {
    if (event.button || !scaleOfPhase) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true, focusVisible: false });
    canvas.setPointerCapture(event.pointerId);
    dragging = true;
    drag(event);
  };
  canvas.onpointermove = (event) => dragging && canvas.hasPointerCapture(event.pointerId) && drag(event);
  canvas.onpointerup = canvas.onpointercancel = () => {
    dragging = false;
    later();
  };
  canvas.onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way || !scaleOfPhase) return;
    event.preventDefault();
    const { lr, momentum } = hyperOf(state.rules[phaseRule()]), fine = event.shiftKey ? 5 : 1;
    setPhase(Math.max(lr + (way[0] * fine * scaleOfPhase.most) / 100, scaleOfPhase.most / 500), momentum + (way[1] * fine) / 100);
  };
  byId("phase-best").onclick = () => {
    const { rate, momentum } = bestMomentum(quadratic);
    setPhase(rate, momentum);
  };
  byId("phase-add").onclick = () => addRule("momentum");
}

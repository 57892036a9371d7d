// The panels This step, Rates and Basins.

// The lines of the rule's function with their values, in the letters of its paper.
const LETTERS = [
  [/\[i\]/g, ""], [/Math\.sqrt\(/g, "√("], [/√\((\w+)\)/g, "√$1"], [/Math\./g, ""], [/ \*\* /g, "^"], [/ \* /g, " · "], [/ - /g, " − "],
  [/\bbeta(\w?)\b/g, (_, k) => `β${{ "": "", 0: "₀", 1: "₁", 2: "₂", 3: "₃", _v: "ᵥ" }[k] ?? k}`], [/\bweight_decay\b/g, "λ"],
  [/\beps\b/g, "ε"], [/\balpha\b/g, "α"], [/\brho\b/g, "ρ"], [/\bmu\b/g, "μ"], [/\bp(?=\b|_t|1)/g, "θ"], [/(\w)_hat\b/g, "$1\u0302"],
  [/_t\b/g, "ₜ"], [/\b([a-zθ])1\b/g, "$1′"], [/^Δ$/, "Δθ"],
];
// "H_x" as H with a subscript.
function lettered(name) {
  const [, stem, below] = /^([A-Z])_([a-z])$/.exec(name) ?? [null, inLetters(name), ""];
  return below ? [stem, el("sub", {}, below)] : [stem];
}
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
    return el("tr", {}, el("th", { scope: "row" }, ...lettered(name)), el("td", {}, inLetters(formula)), ...cells);
  });
  const head = el("tr", {}, ...["", "", "x", "y"].map((word) => (word ? el("th", { scope: "col" }, word) : el("td"))));
  const caption = el("caption", {}, `${labelOf(entry)}, step ${t}, rate ${number(rate)}`);
  panel.replaceChildren(el("table", {}, caption, el("thead", {}, head), el("tbody", {}, ...rows)));
}

// The sweep of rates and the map of basins, as generators that run in slices.
const RATES = Array.from({ length: 61 }, (_, k) => 10 ** (-5 + k / 10));
let scaleOfRates, basinsView;
function* rates() {
  const table = [], canvas = byId("sweep"), entry = state.rules[state.follow];
  byId("rates-said").textContent = `The last height at each rate; where a line stops, the path diverges. Click, or use the arrow keys, to set the rate of ${labelOf(entry)}.`;
  canvas.setAttribute("aria-label", `Last height by rate. ${labelOf(entry)} has ${number(entry.lr)}; left and right change it.`);
  const show = () => {
    const context = sized(canvas, canvas.clientWidth, canvas.clientHeight);
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    scaleOfRates = drawSweep(context, canvas.clientWidth, canvas.clientHeight, {
      entries: state.rules, looks: looks(), table, rates: RATES, floor: floorNow(), bound, follow: state.follow,
    });
  };
  yield* sweepOf(state.rules, surface, state, RATES, table);
  show();
}

// Empty panels, until a lesson is answered.
function* nothing() {
  for (const [canvas, words] of [["sweep", "rates-said"], ["basins", "basins-said"]]) {
    byId(words).textContent = "Answer first.";
    byId(canvas).getContext("2d").clearRect(0, 0, byId(canvas).width, byId(canvas).height);
    byId(canvas).setAttribute("aria-label", "Shown after the answer.");
  }
  scaleOfRates = basinsView = null;
  yield;
}

function* basins() {
  const canvas = byId("basins"), entry = state.rules[state.follow], [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const small = viewOf(surface, null, width, height), columns = 44, rows = Math.round((columns * height) / width);
  const cells = new Int8Array(columns * rows).fill(-2), ends = surface.minima.map((point) => [...point]);
  const show = () => drawBasins(sized(canvas, width, height), width, height, {
    columns, rows, cells, ends, view: small, start: state.start, look: looks()[state.follow],
  });
  byId("basins-said").textContent = `Where ${labelOf(entry)} ends from each start; a stroke: it diverges, blank: it has not arrived. Click, or use the arrow keys, to start there.`;
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
  canvas.setAttribute("aria-label", `Of ${cells.length} starts: ${counts.join(", ")}; diverged from ${cells.filter((cell) => cell === -1).length}.`);
}


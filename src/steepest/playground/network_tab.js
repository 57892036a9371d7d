// The second tab: a small network on points in the plane, trained by two rules side by side from the same weights and batches.
const COUNT = 200; // points
const FINE = 48; // cells of a decision map, along each side
const NETWORK_START = {
  data: "circles", noise: 0.1, scale: 1, activation: "relu", layers: 2, width: 8, batch: 20, steps: 1000, schedule: "constant", seed: 0,
  a: { name: "sgd", lr: 0.1, hyper: {} }, b: { name: "adam", lr: 0.01, hyper: {} },
};
const NETWORK_LIMITS = { noise: [0, 0.5], scale: [1, 20], layers: [1, 3], width: [2, 16], batch: [1, COUNT], steps: [10, 5000], seed: [0, 9999] };
const NETWORK_WORDS = { data: DATA, activation: ["relu", "tanh"], schedule: SCHEDULE_NAMES };
const TINTS = [[0, 114, 178], [213, 94, 0]]; // of the two classes

const networkTab = (() => {
  let net = structuredClone(NETWORK_START), changed = () => {}, data, points, view, trainer, next, racers, rates, playing = false, plays = 0;
  const fields = {}, seen = {};

  // Weights, batches and curves anew, for both rules alike.
  function restart() {
    pause();
    data = makeData(net.data, COUNT, net.noise, net.seed);
    points = scaled(data.x, net.scale);
    const sizes = [2, ...Array(net.layers).fill(net.width), 1];
    trainer = makeTrainer(sizes, net.activation, Math.max(COUNT, FINE * FINE));
    next = makeBatches(COUNT, net.batch, net.seed);
    rates = ["a", "b"].map((side) => ratesOf(net[side].lr, net.schedule, net.steps));
    racers = ["a", "b"].map((side) => {
      const tensors = makeNetwork(sizes, net.seed);
      return { side, run: makeRun(net[side].name, net[side].hyper, tensors), loss: [], norms: Array.from({ length: net.layers + 1 }, () => []), lostAt: null };
    });
    const reach = (k) => Math.max(...points.filter((_, i) => i % 2 === k).map(Math.abs)) * 1.15;
    view = { x0: -reach(0), x1: reach(0), y0: -reach(1), y1: reach(1) };
    racers.forEach(note);
    show();
  }

  // What a curve shows of this moment: the loss over all points, and the norm of each layer's weights.
  function note(racer) {
    const { tensors } = racer.run, { loss, accuracy } = judged(trainer.logits(tensors, points, new Float64Array(COUNT)), data.y);
    racer.accuracy = accuracy;
    if (!Number.isFinite(loss) || loss > 1e9) racer.lostAt = racer.run.t;
    else racer.loss.push(loss);
    if (racer.lostAt === null) tensors.filter(({ name }) => name[0] === "W").forEach(({ p }, k) => racer.norms[k].push(Math.hypot(...p)));
  }

  const stepOf = () => Math.max(...racers.map(({ run }) => run.t));
  const over = () => stepOf() >= net.steps || racers.every(({ lostAt }) => lostAt !== null);

  // One batch for both.
  function advance() {
    const places = next(), k = stepOf();
    racers.forEach((racer, i) => {
      if (racer.lostAt !== null) return;
      trainer.gradients(racer.run.tensors, points, data.y, places);
      racer.run.step(rates[i][k]);
      note(racer);
    });
  }

  function pause() {
    playing = false;
    if (!seen.play) return;
    seen.play.textContent = "▶ Train";
  }

  function play() {
    if (playing) return pause();
    if (over()) restart();
    playing = true;
    const own = ++plays;
    seen.play.textContent = "❚❚ Pause";
    let then = performance.now(), owed = 0;
    const on = () => {
      if (!playing || own !== plays) return;
      const now = performance.now(), quiet = still();
      owed += quiet ? 50 : Math.min(((now - then) / 1000) * Number(fields.speed.value), 200);
      then = now;
      while (owed >= 1 && !over() && (quiet || performance.now() - now < 10)) {
        advance();
        owed--;
      }
      owed = Math.min(owed, 1); // a slow machine trains more slowly, and is not asked for more and more
      show();
      if (over()) pause();
      else if (quiet) setTimeout(on, 700);
      else requestAnimationFrame(on);
    };
    requestAnimationFrame(on);
  }

  // The map of what a network decides: its probability as tints, the line where it is even, and the points as two shapes.
  const cells = Float64Array.from({ length: 2 * FINE * FINE }), logits = new Float64Array(FINE * FINE), small = document.createElement("canvas");
  function drawDecision(canvas, { run: { tensors }, lostAt }) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight], draw = sized(canvas, width, height), { paper, ink, ground } = inks();
    const base = ground[0], all = { ...view, width, height };
    draw.fillStyle = paper;
    draw.fillRect(0, 0, width, height);
    if (lostAt === null) {
      for (let k = 0; k < FINE * FINE; k++) {
        cells[2 * k] = fromX(all, (((k % FINE) + 0.5) / FINE) * width);
        cells[2 * k + 1] = fromY(all, ((Math.floor(k / FINE) + 0.5) / FINE) * height);
      }
      trainer.logits(tensors, cells, logits);
      Object.assign(small, { width: FINE, height: FINE });
      const context = small.getContext("2d"), image = context.createImageData(FINE, FINE);
      logits.forEach((z, k) => {
        const sure = Math.tanh(z / 2), tint = TINTS[z > 0 ? 1 : 0], part = 0.12 + 0.45 * Math.abs(sure);
        for (let c = 0; c < 3; c++) image.data[4 * k + c] = base[c] + part * (tint[c] - base[c]);
        image.data[4 * k + 3] = 255;
      });
      context.putImageData(image, 0, 0);
      draw.imageSmoothingEnabled = true;
      draw.drawImage(small, 0, 0, width, height);
      const [even] = KEPT.contours().size([FINE, FINE]).thresholds([0])(logits);
      draw.beginPath();
      for (const ring of even.coordinates.flat()) {
        ring.forEach(([x, y], k) => {
          const edge = x <= 0.5 || y <= 0.5 || x >= FINE - 0.5 || y >= FINE - 0.5; // the map's own border is no line of it
          draw[k && !edge ? "lineTo" : "moveTo"]((x / FINE) * width, (y / FINE) * height);
        });
      }
      draw.strokeStyle = ink;
      draw.lineWidth = 1.6;
      draw.stroke();
    }
    for (let k = 0; k < COUNT; k++) {
      outline(draw, data.y[k] ? "square" : "circle", toX(all, points[2 * k]), toY(all, points[2 * k + 1]), 3.4);
      draw.fillStyle = `rgb(${TINTS[data.y[k]]})`;
      draw.fill();
      draw.strokeStyle = dark() ? ink : paper;
      draw.lineWidth = 1;
      draw.stroke();
    }
    drawFrame(draw, { domain: [[2 * view.x0, 2 * view.x1], [2 * view.y0, 2 * view.y1]], minima: [] }, all); // numbers; no frame is in view
  }

  // Lines by step, each with its name at its end.
  function drawLines(canvas, lines, name, log) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight], draw = sized(canvas, width, height), { ink } = inks();
    draw.clearRect(0, 0, width, height);
    const all = lines.flatMap(({ values }) => [Math.min(...values), Math.max(...values)]).filter(Number.isFinite);
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (log) low = Math.max(low, high * 1e-9, 1e-12);
    else low = 0;
    if (!(low < high)) [low, high] = log ? [(high || 1) / 10, (high || 1) * 2] : [0, (high || 1) * 1.2];
    const box = { left: 46, right: width - 64, top: 24, bottom: height - 36 };
    const { across, up } = drawAxes(draw, box, { low: 0, high: net.steps, name: "steps" }, { low, high, log, name });
    const names = [];
    for (const { values, look, label, wide } of lines) {
      if (!values.length) continue;
      const every = Math.max(Math.floor(values.length / 400), 1), y = (k) => up(Math.max(values[k], low));
      draw.beginPath();
      draw.moveTo(across(0), y(0));
      for (let k = every; k < values.length; k += every) draw.lineTo(across(k), y(k));
      draw.lineTo(across(values.length - 1), y(values.length - 1));
      draw.setLineDash(look.dash);
      draw.strokeStyle = look.colour;
      draw.lineWidth = wide;
      draw.stroke();
      draw.setLineDash([]);
      names.push({ label, x: across(values.length - 1) + 5, y: y(values.length - 1) + 4 });
    }
    draw.fillStyle = ink;
    draw.textAlign = "left";
    names.sort((a, b) => a.y - b.y);
    names.forEach((name, k) => (name.y = Math.max(name.y, (names[k - 1]?.y ?? -Infinity) + 13)));
    names.toReversed().forEach((name, k, all) => (name.y = Math.min(name.y, (all[k - 1]?.y ?? box.bottom + 17) - 13)));
    for (const { label, x, y } of names) draw.fillText(label, x, y);
  }

  const looksOf = () => [styleOf(net.a.name), styleOf(net.b.name, net.a.name === net.b.name ? 1 : 0)];

  function show() {
    if (seen.section.hidden) return;
    const looks = looksOf(), names = ["A", "B"];
    racers.forEach((racer) => {
      const side = seen[racer.side], entry = net[racer.side], lost = racer.lostAt !== null, last = racer.loss.at(-1);
      drawDecision(side.canvas, racer);
      const said = lost ? `lost at step ${racer.lostAt}` : `loss ${number(last, 3)}, right ${Math.round(100 * racer.accuracy)} %`;
      side.said.textContent = `step ${racer.run.t}: ${said}`;
      side.canvas.setAttribute("aria-label", `What ${entryText(entry)} decides of ${net.data}, step ${racer.run.t}: ${said}.`);
    });
    drawLines(seen.loss, racers.map(({ loss }, k) => ({ values: loss, look: looks[k], label: names[k], wide: 2 })), "loss over all points", true);
    const norms = racers.flatMap(({ norms: all }, k) => all.map((values, layer) => ({ values, look: looks[k], label: `${names[k]} W${layer + 1}`, wide: 1 + 0.6 * layer })));
    drawLines(seen.norms, norms, "norm of each layer's weights", false);
    const words = racers.map(({ loss, side, lostAt }) => `${entryText(net[side])} ${lostAt === null ? number(loss.at(-1), 3) : `lost at step ${lostAt}`}`).join(", ");
    seen.loss.setAttribute("aria-label", `Loss by step: at step ${stepOf()} ${words}.`);
    seen.norms.setAttribute("aria-label", `Norms of the weights of each layer by step, of both rules, up to step ${stepOf()}.`);
  }

  // Controls.
  function slider(key, words, step, said = (x) => number(x)) {
    const [low, high] = NETWORK_LIMITS[key], out = el("output", {});
    const input = el("input", { type: "range", min: low, max: high, step });
    input.oninput = () => {
      net[key] = Number(input.value);
      out.textContent = said(net[key]);
      again();
    };
    fields[key] = () => {
      input.value = net[key];
      out.textContent = said(net[key]);
    };
    return el("label", { class: "slide" }, el("span", {}, words), input, out);
  }

  function choice(key, words, names = NETWORK_WORDS[key]) {
    const select = el("select", { onchange: () => ((net[key] = select.value), again()) }, ...names.map((name) => el("option", { value: name }, name)));
    fields[key] = () => (select.value = net[key]);
    return el("label", {}, words, select);
  }

  function again() {
    restart();
    changed();
  }

  // One of the two: its rule and rate above its map.
  function contender(side, title) {
    const offered = Object.values(RULES).filter((rule) => !refusedInNetwork(rule)), head = el("span", { class: "swatch" });
    const select = el("select", { "aria-label": `Rule ${title}` }, ...offered.map(({ name }) => el("option", { value: name }, name)));
    const rate = el("input", { type: "number", step: "any", min: 0, "aria-label": `Rate of ${title}` });
    const fine = el("input", { type: "range", min: -4, max: 1, step: 0.01, "aria-label": `Rate of ${title}, fine` });
    const give = (lr) => {
      if (!(lr > 0 && lr <= 1e6)) return;
      net[side].lr = lr;
      fields[side]();
      again();
    };
    select.onchange = () => {
      net[side] = { name: select.value, lr: RULES[select.value].rate, hyper: {} };
      fields.a();
      fields.b();
      again();
    };
    rate.onchange = () => {
      give(Number(rate.value));
      rate.value = net[side].lr; // what is not a rate is not left standing
    };
    fine.oninput = () => give(Number((10 ** fine.value).toPrecision(2)));
    fields[side] = () => {
      select.value = net[side].name;
      set2(rate, net[side].lr);
      set2(fine, Math.log10(net[side].lr));
      head.replaceChildren(swatch(looksOf()[side === "a" ? 0 : 1]), entryText({ ...net[side], name: "" }, false));
    };
    const step = (up, sign) => el("button", { type: "button", "aria-label": `${up > 0 ? "Raise" : "Lower"} the rate of ${title}`, onclick: () => give(ladder(net[side].lr, up)) }, sign);
    const canvas = el("canvas", { role: "img" }), said = el("p", { class: "hint" });
    seen[side] = { canvas, said };
    return el("div", { class: "contender" }, el("h2", {}, title, " ", head), el("div", { class: "rate" }, select, step(-1, "−"), rate, step(1, "+"), fine), canvas, said);
  }

  const set2 = (input, value) => document.activeElement !== input && (input.value = value);

  function init(section, tell) {
    changed = tell;
    seen.section = section;
    seen.play = el("button", { type: "button", onclick: play }, "▶ Train");
    fields.speed = el("select", { "aria-label": "Speed, steps a second" }, ...[10, 60, 300, 3000].map((x) => el("option", { value: x }, `${x} /s`)));
    fields.speed.value = 60;
    const once = el("button", { type: "button", onclick: () => (pause(), over() || advance(), show()) }, "One step");
    const controls = el(
      "div",
      { class: "controls" },
      el("section", {}, el("h2", {}, "Points"), choice("data", "Shape"), slider("noise", "Noise", 0.01), slider("scale", "y scaled by", 1)),
      el("section", {}, el("h2", {}, "Network"), choice("activation", "Between layers"), slider("layers", "Hidden layers", 1), slider("width", "Units in each", 1)),
      el("section", {}, el("h2", {}, "Training"), slider("batch", "Batch", 1), slider("steps", "Steps", 10), choice("schedule", "Schedule"), slider("seed", "Seed", 1)),
      el("div", { class: "buttons" }, seen.play, once, el("button", { type: "button", onclick: restart }, "Restart"), fields.speed),
      el("p", { class: "hint" }, "Both start from the same weights and see the same batches. Scale y: its gradients grow with it, and the two rules take that differently."),
    );
    seen.loss = el("canvas", { role: "img" });
    seen.norms = el("canvas", { role: "img" });
    const maps = el("div", { class: "maps" }, contender("a", "A"), contender("b", "B"));
    const curves = el("div", { class: "curves" }, el("div", {}, el("h2", {}, "Loss"), seen.loss), el("div", {}, el("h2", {}, "Norms by layer"), seen.norms));
    section.append(controls, el("div", { class: "stage" }, maps, curves));
    scheme.addEventListener("change", () => (fill(), show()));
    new ResizeObserver(() => racers && show()).observe(section);
    fill();
  }

  function fill() {
    for (const [key, field] of Object.entries(fields)) if (key !== "speed") field();
  }

  // The address: what differs from the start, under names of its own.
  function write(said) {
    for (const key of [...Object.keys(NETWORK_LIMITS), ...Object.keys(NETWORK_WORDS)]) {
      if (net[key] !== NETWORK_START[key]) said.set(`net-${key}`, net[key]);
    }
    for (const side of ["a", "b"]) {
      if (entryText(net[side]) !== entryText(NETWORK_START[side])) said.set(`net-${side}`, entryText(net[side]));
    }
  }

  function read(said) {
    net = structuredClone(NETWORK_START);
    for (const [key, [low, high]] of Object.entries(NETWORK_LIMITS)) {
      const value = Number(said.get(`net-${key}`) ?? NaN);
      if (value >= low && value <= high && (key === "noise" || key === "scale" || Number.isInteger(value))) net[key] = value;
    }
    for (const [key, names] of Object.entries(NETWORK_WORDS)) if (names.includes(said.get(`net-${key}`))) net[key] = said.get(`net-${key}`);
    for (const side of ["a", "b"]) {
      const entry = readEntry(said.get(`net-${side}`) ?? "");
      if (entry && entry.lr > 0 && !refusedInNetwork(RULES[entry.name])) net[side] = entry;
    }
    fill();
    racers = null;
  }

  // What is set, and for each rule the curves that are drawn.
  function exportJson() {
    if (!racers) restart();
    const { a, b, ...set } = net;
    const optimizers = racers.map(({ side, loss, norms, accuracy, lostAt }) => {
      const weights = Object.fromEntries(norms.map((values, k) => [`W${k + 1}`, values]));
      const data = { name: entryText(net[side], false), lr: net[side].lr, loss, norms: weights, diverged_at: lostAt };
      return lostAt === null ? { ...data, accuracy, status: "it did not diverge" } : data;
    });
    return { points: COUNT, ...set, optimizers };
  }

  return {
    init, read, write, exportJson,
    show: () => (racers ? show() : restart()),
    hide: pause,
  };
})();

// The second tab: a small network on points in the plane, trained by two rules side by side from the same weights and batches.
const COUNT = 200; // test points, and the most training points
const FINE = 48; // cells of a decision map, along each side
const COARSE = 24; // and of a unit's picture
const PENALTIES = [0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3];
const NETWORK_START = {
  data: "circles", points: COUNT, noise: 0.1, scale: 1, l2: 0, l1: 0, activation: "relu", layers: 2, width: 8, batch: 20, steps: 1000, schedule: "constant", seed: 0,
  a: { name: "sgd", lr: 0.1, hyper: {} }, b: { name: "adam", lr: 0.01, hyper: {} },
};
const NETWORK_LIMITS = { points: [10, COUNT], noise: [0, 0.5], l2: [0, 1], l1: [0, 1], scale: [1, 20], layers: [1, 3], width: [2, 16], batch: [1, COUNT], steps: [10, 5000], seed: [0, 9999] };
const NETWORK_WORDS = { data: DATA, activation: ["relu", "tanh"], schedule: SCHEDULE_NAMES };
const FRACTIONS = ["noise", "scale", "l2", "l1"]; // the others are whole numbers
const TEST_SEED = 100_000; // added to the seed of the points
const TINTS = [[0, 114, 178], [213, 94, 0]]; // of the two classes

const networkTab = (() => {
  let net = structuredClone(NETWORK_START), changed = () => {}, train, test, view, trainer, next, racers, rates, playing = false, plays = 0;
  const fields = {}, seen = {};

  // Restart both rules from the same weights, with the same batches.
  function restart() {
    pause();
    [train, test] = [[net.points, net.seed], [COUNT, net.seed + TEST_SEED]].map(([count, seed]) => {
      const { x, y } = makeData(net.data, count, net.noise, seed);
      return { x: scaled(x, net.scale), y };
    });
    const sizes = [2, ...Array(net.layers).fill(net.width), 1];
    trainer = makeTrainer(sizes, net.activation, Math.max(COUNT, FINE * FINE));
    next = makeBatches(net.points, Math.min(net.batch, net.points), net.seed);
    rates = ["a", "b"].map((side) => ratesOf(net[side].lr, net.schedule, net.steps));
    racers = ["a", "b"].map((side) => {
      const tensors = makeNetwork(sizes, net.seed);
      return { side, run: makeRun(net[side].name, net[side].hyper, tensors), loss: [], testLoss: [], norms: Array.from({ length: net.layers + 1 }, () => []), lostAt: null };
    });
    const reach = (k) => Math.max(...[...train.x, ...test.x].filter((_, i) => i % 2 === k).map(Math.abs)) * 1.1;
    view = { x0: -reach(0), x1: reach(0), y0: -reach(1), y1: reach(1) };
    racers.forEach(note);
    show();
  }

  // Append the losses over all training points and all test points, without the penalty, and the norm of each layer's weights.
  function note(racer) {
    const { tensors } = racer.run;
    const [known, fresh] = [train, test].map(({ x, y }) => judged(trainer.logits(tensors, x, new Float64Array(y.length)), y));
    Object.assign(racer, { accuracy: known.accuracy, testAccuracy: fresh.accuracy });
    if (![known.loss, fresh.loss].every((loss) => loss <= 1e9)) racer.lostAt = racer.run.t;
    else racer.loss.push(known.loss), racer.testLoss.push(fresh.loss);
    if (racer.lostAt === null) tensors.filter(({ name }) => name[0] === "W").forEach(({ p }, k) => racer.norms[k].push(Math.hypot(...p)));
  }

  const stepOf = () => Math.max(...racers.map(({ run }) => run.t));
  const over = () => stepOf() >= net.steps || racers.every(({ lostAt }) => lostAt !== null);

  // One step of both rules on the same batch.
  function advance() {
    const places = next(), k = stepOf();
    racers.forEach((racer, i) => {
      if (racer.lostAt !== null) return;
      trainer.gradients(racer.run.tensors, train.x, train.y, places);
      penalise(racer.run.tensors, net.l2, net.l1);
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
      owed = Math.min(owed, 1); // a slow machine must not fall behind further and further
      show();
      if (over()) pause();
      else if (quiet) setTimeout(on, 700);
      else requestAnimationFrame(on);
    };
    requestAnimationFrame(on);
  }

  // The decision map: the probability as tints, the line where both classes are equal, and the points as two shapes.
  const cells = Float64Array.from({ length: 2 * FINE * FINE }), logits = new Float64Array(FINE * FINE), small = document.createElement("canvas");
  function drawDecision({ canvas, units, counted }, { run: { tensors }, lostAt }) {
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
      const dead = drawUnits(units, trainer.hidden()), zero = dead === 1 ? "; 1 is 0 everywhere" : dead ? `; ${dead} are 0 everywhere` : "";
      counted.textContent = `What each hidden unit computes, a row for each layer${zero}`;
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
          const edge = x <= 0.5 || y <= 0.5 || x >= FINE - 0.5 || y >= FINE - 0.5; // contours run along the border of the map
          draw[k && !edge ? "lineTo" : "moveTo"]((x / FINE) * width, (y / FINE) * height);
        });
      }
      draw.strokeStyle = ink;
      draw.lineWidth = 1.6;
      draw.stroke();
    }
    for (const { x, y } of [train, ...(fields.tests.checked ? [test] : [])]) {
      for (let k = 0; k < y.length; k++) {
        outline(draw, y[k] ? "square" : "circle", toX(all, x[2 * k]), toY(all, x[2 * k + 1]), 3.4);
        draw.fillStyle = x === train.x ? `rgb(${TINTS[y[k]]})` : paper;
        draw.fill();
        draw.strokeStyle = x === test.x ? `rgb(${TINTS[y[k]]})` : dark() ? ink : paper;
        draw.lineWidth = x === test.x ? 1.6 : 1;
        draw.stroke();
      }
    }
    drawFrame(draw, { domain: [[2 * view.x0, 2 * view.x1], [2 * view.y0, 2 * view.y1]], minima: [] }, all); // ticks only: the frame is out of view
  }

  // What each hidden unit computes over the plane: a row for each layer, white where it is 0, a class's tint where it is not.
  const unitsImage = document.createElement("canvas");
  function drawUnits(canvas, layers) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight], draw = sized(canvas, width, height), count = net.width, every = FINE / COARSE;
    Object.assign(unitsImage, { width: count * COARSE, height: layers.length * COARSE });
    const context = unitsImage.getContext("2d"), image = context.createImageData(unitsImage.width, unitsImage.height), base = inks().ground[0];
    let dead = 0;
    layers.forEach((outputs, layer) => {
      for (let unit = 0; unit < count; unit++) {
        let most = 0;
        for (let k = unit; k < FINE * FINE * count; k += count) most = Math.max(most, Math.abs(outputs[k]));
        if (most === 0) dead++;
        for (let k = 0; k < COARSE * COARSE; k++) {
          const column = k % COARSE, row = Math.floor(k / COARSE), value = outputs[(row * every * FINE + column * every) * count + unit];
          const tint = TINTS[value > 0 ? 1 : 0], part = most ? 0.75 * Math.abs(value / most) : 0;
          const place = 4 * ((layer * COARSE + row) * unitsImage.width + unit * COARSE + column);
          for (let c = 0; c < 3; c++) image.data[place + c] = base[c] + part * (tint[c] - base[c]);
          image.data[place + 3] = 255;
        }
      }
    });
    context.putImageData(image, 0, 0);
    const { line, soft } = inks(), gap = 4, label = 20;
    const size = Math.min((width - label - gap * (count - 1)) / count, (height - gap * (layers.length - 1)) / layers.length);
    draw.clearRect(0, 0, width, height);
    draw.font = FONT;
    draw.textAlign = "left";
    layers.forEach((_, layer) => {
      const y = layer * (size + gap);
      draw.fillStyle = soft;
      draw.fillText(String(layer + 1), 2, y + size / 2 + 4);
      for (let unit = 0; unit < count; unit++) {
        const x = label + unit * (size + gap);
        draw.drawImage(unitsImage, unit * COARSE, layer * COARSE, COARSE, COARSE, x, y, size, size);
        draw.strokeStyle = line;
        draw.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
      }
    });
    const words = `What each of ${count * layers.length} hidden units computes over the plane, a row for each layer`;
    canvas.setAttribute("aria-label", `${words}; ${dead} are 0 everywhere.`);
    return dead;
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
      mark(draw, look, across(values.length - 1), y(values.length - 1), 3);
      names.push({ label, x: across(values.length - 1) + 8, y: y(values.length - 1) + 4 });
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
      side.units.style.height = `${unitsHeight(side.units.clientWidth)}px`;
      drawDecision(side, racer);
      const [known, fresh] = [racer.accuracy, racer.testAccuracy].map((share) => `${Math.round(100 * share)} %`);
      const words = `loss ${number(last, 3)}, accuracy ${known}; test loss ${number(racer.testLoss.at(-1), 3)}, accuracy ${fresh}`;
      const said = lost ? `diverged at step ${racer.lostAt}` : words;
      side.said.textContent = `step ${racer.run.t}: ${said}`;
      side.canvas.setAttribute("aria-label", `What ${entryText(entry)} decides of ${net.data}, step ${racer.run.t}: ${said}.`);
    });
    const losses = racers.flatMap(({ loss, testLoss }, k) => [
      { values: loss, look: looks[k], label: `${names[k]} train`, wide: 1.3 },
      { values: testLoss, look: looks[k], label: `${names[k]} test`, wide: 2.6 },
    ]);
    drawLines(seen.loss, losses, "loss over all points (test: wide lines)", true);
    const norms = racers.flatMap(({ norms: all }, k) => all.map((values, layer) => ({ values, look: looks[k], label: `${names[k]} W${layer + 1}`, wide: 1 + 0.6 * layer })));
    drawLines(seen.norms, norms, "norm of each layer's weights", false);
    const ended = ({ loss, testLoss }) => `${number(loss.at(-1), 3)} (test ${number(testLoss.at(-1), 3)})`;
    const words = racers.map((racer) => `${entryText(net[racer.side])} ${racer.lostAt === null ? ended(racer) : `diverged at step ${racer.lostAt}`}`).join(", ");
    seen.loss.setAttribute("aria-label", `Loss by step: at step ${stepOf()} ${words}.`);
    seen.norms.setAttribute("aria-label", `Norms of the weights of each layer by step, of both rules, up to step ${stepOf()}.`);
  }

  // The height of square pictures of all units, at most 56 pixels each.
  const unitsHeight = (width) => Math.round(net.layers * Math.min((width - 20) / net.width, 56));

  // Controls. A slider with `values` selects one of them.
  function slider(key, words, step, values = null) {
    const [low, high] = values ? [0, values.length - 1] : NETWORK_LIMITS[key], out = el("output", {});
    const input = el("input", { type: "range", min: low, max: high, step });
    const shows = () => {
      out.textContent = number(net[key]);
      input.setAttribute("aria-valuetext", number(net[key]));
    };
    input.oninput = () => {
      net[key] = values ? values[input.value] : Number(input.value);
      shows();
      again();
    };
    fields[key] = () => {
      input.value = values ? values.filter((x) => x <= net[key]).length - 1 : net[key];
      shows();
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

  // One of the two rules: rule and rate above its map.
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
      rate.value = net[side].lr; // discard invalid input
    };
    fine.oninput = () => give(Number((10 ** fine.value).toPrecision(2)));
    fields[side] = () => {
      select.value = net[side].name;
      set2(rate, net[side].lr);
      set2(fine, Math.log10(net[side].lr));
      head.replaceChildren(swatch(looksOf()[side === "a" ? 0 : 1]), entryText({ ...net[side], name: "" }, false));
    };
    const step = (up, sign) => el("button", { type: "button", "aria-label": `${up > 0 ? "Raise" : "Lower"} the rate of ${title}`, onclick: () => give(ladder(net[side].lr, up)) }, sign);
    const canvas = el("canvas", { role: "img" }), units = el("canvas", { role: "img", class: "units" }), [said, counted] = ["said", "counted"].map((name) => el("p", { class: `hint ${name}` }));
    seen[side] = { canvas, units, said, counted };
    return el("div", { class: "contender" }, el("h2", {}, title, " ", head), el("div", { class: "rate" }, select, step(-1, "−"), rate, step(1, "+"), fine), canvas, said, counted, units);
  }

  const set2 = (input, value) => document.activeElement !== input && (input.value = value);

  function init(section, tell) {
    changed = tell;
    seen.section = section;
    seen.play = el("button", { type: "button", onclick: play }, "▶ Train");
    fields.speed = el("select", { "aria-label": "Speed, steps a second" }, ...[10, 60, 300, 3000].map((x) => el("option", { value: x }, `${x} /s`)));
    fields.speed.value = 60;
    const once = el("button", { type: "button", onclick: () => (pause(), over() || advance(), show()) }, "One step");
    fields.tests = el("input", { type: "checkbox", onchange: () => show() });
    const tests = el("label", { class: "beside" }, fields.tests, "show the test points, hollow");
    const points = [choice("data", "Shape"), slider("points", "Training points", 1), slider("noise", "Noise", 0.01), slider("scale", "y scaled by", 1), tests];
    const controls = el(
      "div",
      { class: "controls" },
      el("section", {}, el("h2", {}, "Points"), ...points),
      el("section", {}, el("h2", {}, "Network"), choice("activation", "Between layers"), slider("layers", "Hidden layers", 1), slider("width", "Units in each", 1)),
      el("section", {}, el("h2", {}, "Penalty on the weights"), slider("l2", "L2 (λ/2 · ΣW²)", 1, PENALTIES), slider("l1", "L1 (λ · Σ|W|)", 1, PENALTIES)),
      el("section", {}, el("h2", {}, "Training"), slider("batch", "Batch", 1), slider("steps", "Steps", 10), choice("schedule", "Schedule"), slider("seed", "Seed", 1)),
      el("div", { class: "buttons" }, seen.play, once, el("button", { type: "button", onclick: restart }, "Restart"), fields.speed),
      el("p", { class: "hint" }, "Both start from the same weights and see the same batches. Scale y: its gradients grow with it; which rule is affected? With few, noisy points and many units the test loss rises again, and a penalty keeps it down."),
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
    for (const field of Object.values(fields)) if (typeof field === "function") field();
  }

  // Write the settings that differ from the defaults to the address.
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
      if (value >= low && value <= high && (FRACTIONS.includes(key) || Number.isInteger(value))) net[key] = value;
    }
    for (const [key, names] of Object.entries(NETWORK_WORDS)) if (names.includes(said.get(`net-${key}`))) net[key] = said.get(`net-${key}`);
    for (const side of ["a", "b"]) {
      const entry = readEntry(said.get(`net-${side}`) ?? "");
      if (entry && entry.lr > 0 && !refusedInNetwork(RULES[entry.name])) net[side] = entry;
    }
    fill();
    racers = null;
  }

  // The settings, and the curves of each rule.
  function exportJson() {
    if (!racers) restart();
    const { a, b, ...set } = net;
    const optimizers = racers.map(({ side, loss, testLoss, norms, accuracy, testAccuracy, lostAt }) => {
      const weights = Object.fromEntries(norms.map((values, k) => [`W${k + 1}`, values]));
      const data = { name: entryText(net[side], false), lr: net[side].lr, loss, test_loss: testLoss, norms: weights, diverged_at: lostAt };
      return lostAt === null ? { ...data, accuracy, test_accuracy: testAccuracy, status: "it did not diverge" } : data;
    });
    return { ...set, test_points: COUNT, optimizers };
  }

  return {
    init, read, write, exportJson,
    show: () => (racers ? show() : restart()),
    hide: pause,
  };
})();

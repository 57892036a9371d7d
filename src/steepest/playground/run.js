// Run a rule on a surface: initial state and path. RULES and SURFACES are defined by the generated code.
const sign = (x) => (x > 0) - (x < 0); // 0 of NaN

// The step function for these hyperparameters; undefined if the rule rejects them.
function choose(rule, hyper) {
  const holds = ({ when }) => Object.entries(when).every(([k, on]) => Boolean(hyper[k]) === on);
  return rule.choices.find(holds)?.step;
}

// Initial state: an array or a number for each letter.
function begin(rule, p, g, hyper) {
  const state = {};
  for (const [letter, { start, copies, scalar, condition, exists }] of Object.entries(rule.state)) {
    if (condition && Boolean(hyper[condition]) !== exists) continue;
    const number = typeof start === "string" ? hyper[start] : start;
    if (scalar) state[letter] = number;
    else state[letter] = copies ? Float64Array.from(copies === "p" ? p : g) : new Float64Array(p.length).fill(number);
  }
  return state;
}

// A fraction of a run in steps, at least 1; halves round to even, as in Python.
function share(part, steps) {
  const whole = Math.floor(part * steps), rest = part * steps - whole;
  return Math.max(whole + (rest > 0.5 || (rest === 0.5 && whole % 2 === 1)), 1);
}

// The factor on the rate at each step, equal to that of `steepest.schedules` of the same name.
const SCHEDULES = {
  constant: () => 1,
  linear: (k, n) => 1 - Math.min(k / n, 1),
  cosine: (k, n) => (1 + Math.cos((Math.PI * k) / n)) / 2,
  step: (k, n) => 0.1 ** Math.floor(k / share(1 / 3, n)),
  exponential: (k, n) => 0.01 ** (k / n),
  inverse_time: (k, n) => 1 / (1 + (19 * k) / n),
  "warmup * cosine": (k, n) => Math.min((k + 1) / share(0.05, n), 1) * SCHEDULES.cosine(k, n),
};

// The rate at each step.
const ratesOf = (lr, schedule, steps) => Float64Array.from({ length: steps }, (_, k) => lr * SCHEDULES[schedule](k, steps));

// Standard normal numbers, as NumPy's RandomState(seed) draws them: Marsaglia's polar method, two at a time.
function normals(seed, count) {
  const twister = new KEPT.MersenneTwister(seed), drawn = new Float64Array(count);
  for (let k = 0; k < count; k += 2) {
    let a, b, square;
    do {
      a = 2 * twister.random_long() - 1;
      b = 2 * twister.random_long() - 1;
      square = a * a + b * b;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt((-2 * Math.log(square)) / square);
    drawn[k] = factor * b;
    if (k + 1 < count) drawn[k + 1] = factor * a;
  }
  return drawn;
}

// A path: points (steps + 1, dims) and heights, flat. `f(p, g, h)` returns the height and writes the gradient and the Hessian.
// rates: one per step. noise: dims numbers per step, added to every gradient of that step, or null. `told(name, i, value)` is
// called with the gradient and each value of the last step; i is -1 for a number.
function walk(rule, hyper, f, start, rates, noise = null, told = undefined) {
  const steps = rates.length, dims = start.length;
  const points = new Float64Array((steps + 1) * dims), values = new Float64Array(steps + 1);
  const p = Float64Array.from(start), g = new Float64Array(dims);
  const set = { ...hyper, lr: rates[0] };
  const step = choose(rule, set);
  let now = 0;
  const shake = (into) => {
    if (noise) for (let i = 0; i < dims; i++) into[i] += noise[now * dims + i];
  };
  const ask = (at) => {
    const answer = new Float64Array(dims);
    f(at, answer);
    shake(answer);
    return answer;
  };
  ask.hessian = (at) => {
    const answer = new Float64Array(3);
    f(at, new Float64Array(2), answer);
    return answer;
  };
  points.set(p);
  values[0] = f(p, g);
  let state;
  for (now = 0; now < steps; now++) {
    shake(g);
    state ??= begin(rule, p, g, set);
    set.lr = rates[now];
    const last = now === steps - 1 ? told : undefined;
    if (last) g.forEach((x, i) => last("g", i, x));
    step(p, g, now + 1, state, set, ask, last);
    points.set(p, (now + 1) * dims);
    values[now + 1] = f(p, g);
  }
  return { points, values };
}

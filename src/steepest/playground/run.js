// Walking: a rule's state as it begins, and the points of its path. RULES and SURFACES say what rules and surfaces are.
const sign = (x) => (x > 0) - (x < 0); // 0 of NaN

// The step that these hyperparameters choose; undefined where the rule refuses them.
function choose(rule, hyper) {
  const holds = ({ when }) => Object.entries(when).every(([k, on]) => Boolean(hyper[k]) === on);
  return rule.choices.find(holds)?.step;
}

// State at the start: an array for each letter, or a number.
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

// A path: points and heights, the start first, flat in two arrays. `f(p, g)` gives the height and writes the gradient.
// rates: one for each step. noise: dims numbers for each step, added to every gradient of it, or null.
function walk(rule, hyper, f, start, rates, noise = null) {
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
  points.set(p);
  values[0] = f(p, g);
  let state;
  for (now = 0; now < steps; now++) {
    shake(g);
    state ??= begin(rule, p, g, set);
    set.lr = rates[now];
    step(p, g, now + 1, state, set, ask);
    points.set(p, (now + 1) * dims);
    values[now + 1] = f(p, g);
  }
  return { points, values };
}

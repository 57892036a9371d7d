// The theory of momentum on a quadratic, and what a path on one does along each eigenvector. It draws nothing.
const REGIMES = ["over-damped", "under-damped", "alternating", "diverging"];

// One step along an eigenvector multiplies (x, x before) by [[1 + β − ηλ, −β], [1, 0]]. The larger eigenvalue's size is the
// factor per step in the long run: real and positive creeps, complex swings, negative jumps from side to side.
function dampingOf(rate, momentum, curvature) {
  const trace = 1 + momentum - rate * curvature, square = trace * trace - 4 * momentum;
  const factor = square < 0 ? Math.sqrt(momentum) : (Math.abs(trace) + Math.sqrt(square)) / 2;
  const stable = square < 0 ? "under-damped" : trace < 0 ? "alternating" : "over-damped";
  return { factor, regime: factor >= 1 ? "diverging" : stable };
}

// Both directions together: the slower one sets the factor.
function factorOf(rate, momentum, { smallest, largest }) {
  return Math.max(dampingOf(rate, momentum, smallest).factor, dampingOf(rate, momentum, largest).factor);
}

// The best rate and momentum (Polyak 1964): both directions are then critically damped, at a factor of (√κ − 1) / (√κ + 1).
function bestMomentum({ smallest, largest }) {
  const [low, high] = [Math.sqrt(smallest), Math.sqrt(largest)], factor = (high - low) / (high + low);
  return { rate: (2 / (high + low)) ** 2, momentum: factor ** 2, factor, plain: (largest - smallest) / (largest + smallest) };
}

// Up to which rate each region reaches at a momentum: over-damped in both directions, over-damped in the flat one, stable.
function regionsAt(momentum, { smallest, largest }) {
  const stable = (2 * (1 + momentum)) / largest, damped = (1 - Math.sqrt(momentum)) ** 2;
  return [damped / largest, Math.min(damped / smallest, stable), stable];
}

// The corners (rate, momentum) of the region where the factor is at most this; none where no point is that fast.
function levelOf(factor, { smallest, largest }) {
  const left = (1 - factor) / smallest, right = (1 + factor) / largest, best = factor ** 2;
  const top = [[right * (1 + factor), best], [left * (1 - factor), best]];
  if (top[1][0] > top[0][0]) return [];
  if (left <= right) return [[left, 0], [right, 0], ...top];
  const share = (left - right) / (left + right); // the sides meet above momentum 0
  return [[left * (1 - share), factor * share], ...top];
}

// The coordinates of a path's points along the eigenvectors, flat one first, from the minimum.
function alongAxes({ points, last }, { axes, minimum }) {
  return axes.map(([a, b]) => Float64Array.from({ length: last + 1 }, (_, k) => a * (points[2 * k] - minimum[0]) + b * (points[2 * k + 1] - minimum[1])));
}

// The factor per step that a path shows: the slope of the log of its size over the second half of what is above rounding.
// The size is that of two neighbouring steps together, which does not vanish where a swinging path passes 0.
function measuredFactor(coordinates, reach = 0) {
  const size = (k) => Math.hypot(...coordinates.flatMap((along) => [along[k], along[k + 1]])), steps = coordinates[0].length - 1;
  const floor = 1e-13 * Math.max(size(0), reach);
  let end = 0;
  while (end < steps && size(end) > floor) end++;
  const from = Math.floor(end / 2), count = end - from, middle = (from + end - 1) / 2;
  if (count < 3) return null;
  let rise = 0, run = 0;
  for (let k = from; k < end; k++) {
    const weight = Math.sin((Math.PI * (k - from + 0.5)) / count) ** 2; // steps at both ends count less: a swing cut there would tilt the slope
    rise += weight * (k - middle) * Math.log(size(k));
    run += weight * (k - middle) ** 2;
  }
  return Math.exp(rise / run);
}

// Whether a rule of the list is plain momentum, which this theory is about.
function isHeavyBall(entry) {
  if (!["sgd", "momentum"].includes(entry.name)) return false;
  const { nesterov, dampening, weight_decay: decay = 0, momentum } = hyperOf(entry);
  return !nesterov && !dampening && !decay && momentum < 1;
}

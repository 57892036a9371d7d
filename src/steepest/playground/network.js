// A small network on points in the plane: data, gradients, training by a rule. Independent of the page.

const DATA = ["circles", "moons", "spirals"];

// Points of two classes in turn: x has two numbers per point, y the classes, 0 or 1.
function makeData(kind, count, noise, seed) {
  const x = new Float64Array(2 * count), y = new Float64Array(count);
  const shaken = normals(seed, 2 * count), twister = new KEPT.MersenneTwister(seed + 1);
  for (let k = 0; k < count; k++) {
    const second = k % 2, u = twister.random_long();
    const [a, b] = {
      circles: () => [Math.cos(2 * Math.PI * u) * (second ? 0.5 : 1), Math.sin(2 * Math.PI * u) * (second ? 0.5 : 1)],
      moons: () => (second ? [0.5 - Math.cos(Math.PI * u), 0.25 - Math.sin(Math.PI * u)] : [Math.cos(Math.PI * u) - 0.5, Math.sin(Math.PI * u) - 0.25]),
      spirals: () => {
        const far = Math.sqrt(u), angle = 3 * Math.PI * far + Math.PI * second;
        return [1.2 * far * Math.cos(angle), 1.2 * far * Math.sin(angle)];
      },
    }[kind]();
    x[2 * k] = a + noise * shaken[2 * k];
    x[2 * k + 1] = b + noise * shaken[2 * k + 1];
    y[k] = second;
  }
  return { x, y };
}

// The points with the second coordinate multiplied by a factor.
const scaled = (x, factor) => x.map((value, k) => (k % 2 ? factor * value : value));

// Layers of these sizes: weights (out, in) with variance 2 / in, and biases of 0.
function makeNetwork(sizes, seed) {
  const tensors = [], own = 1000 * (seed + 1); // distinct random numbers for each layer, seed and the data
  for (let layer = 1; layer < sizes.length; layer++) {
    const [into, out] = [sizes[layer - 1], sizes[layer]], size = Math.sqrt(2 / into);
    const weights = normals(own + layer, into * out).map((value) => size * value);
    tensors.push({ name: `W${layer}`, layer, shape: [out, into], p: weights, g: new Float64Array(into * out) });
    tensors.push({ name: `b${layer}`, layer, shape: [out], p: new Float64Array(out), g: new Float64Array(out) });
  }
  return tensors;
}

// Forward and backward passes of a network of these sizes, with relu or tanh between layers and one logit, for up to `most`
// points at once. Buffers are allocated here.
function makeTrainer(sizes, activation, most) {
  const values = sizes.map((size) => new Float64Array(most * size)), slopes = sizes.map((size) => new Float64Array(most * size));
  const depth = sizes.length - 1, relu = activation === "relu";

  function forward(tensors, count) {
    for (let layer = 1; layer <= depth; layer++) {
      const into = sizes[layer - 1], out = sizes[layer], from = values[layer - 1], to = values[layer];
      const { p: weights } = tensors[2 * layer - 2], { p: bias } = tensors[2 * layer - 1];
      for (let e = 0; e < count; e++) {
        for (let o = 0; o < out; o++) {
          let sum = bias[o];
          for (let i = 0; i < into; i++) sum += weights[o * into + i] * from[e * into + i];
          to[e * out + o] = layer === depth ? sum : relu ? (sum < 0 ? 0 : sum) : Math.tanh(sum);
        }
      }
    }
  }

  // The mean cross-entropy over the points at these indices; writes every tensor's gradient g.
  function gradients(tensors, x, y, places) {
    const count = places.length, logits = values[depth];
    for (let e = 0; e < count; e++) {
      values[0][2 * e] = x[2 * places[e]];
      values[0][2 * e + 1] = x[2 * places[e] + 1];
    }
    forward(tensors, count);
    let loss = 0;
    for (let e = 0; e < count; e++) {
      const z = logits[e], is = y[places[e]];
      loss += Math.max(z, 0) - z * is + Math.log1p(Math.exp(-Math.abs(z)));
      slopes[depth][e] = (1 / (1 + Math.exp(-z)) - is) / count;
    }
    for (let layer = depth; layer >= 1; layer--) backward(tensors, layer, count);
    return loss / count;
  }

  function backward(tensors, layer, count) {
    const into = sizes[layer - 1], out = sizes[layer], from = values[layer - 1], slope = slopes[layer], back = slopes[layer - 1];
    const { p: weights, g: weightsSlope } = tensors[2 * layer - 2], { g: biasSlope } = tensors[2 * layer - 1];
    weightsSlope.fill(0);
    biasSlope.fill(0);
    back.fill(0);
    for (let e = 0; e < count; e++) {
      for (let o = 0; o < out; o++) {
        const s = slope[e * out + o];
        biasSlope[o] += s;
        for (let i = 0; i < into; i++) {
          weightsSlope[o * into + i] += s * from[e * into + i];
          back[e * into + i] += s * weights[o * into + i];
        }
      }
    }
    if (layer === 1) return;
    for (let k = 0; k < count * into; k++) back[k] *= relu ? (from[k] > 0 ? 1 : 0) : 1 - from[k] * from[k];
  }

  // The logit of every point of x.
  function logits(tensors, x, out) {
    for (let start = 0; start < out.length; start += most) {
      const count = Math.min(most, out.length - start);
      values[0].set(x.subarray(2 * start, 2 * (start + count)));
      forward(tensors, count);
      out.set(values[depth].subarray(0, count), start);
    }
    return out;
  }

  // The outputs of each hidden layer in the last forward pass: (points, units), flat.
  const hidden = () => values.slice(1, depth);

  return { gradients, logits, hidden };
}

// Add the gradients of the penalty l2 / 2 · ΣW² + l1 · Σ|W| on the weights, without the biases.
function penalise(tensors, l2, l1) {
  for (const { name, p, g } of tensors) {
    if (name[0] === "W") for (let k = 0; k < p.length; k++) g[k] += l2 * p[k] + l1 * sign(p[k]);
  }
}

// The mean loss and the accuracy, from logits.
function judged(logits, y) {
  let loss = 0, right = 0;
  for (let k = 0; k < y.length; k++) {
    const z = logits[k];
    loss += Math.max(z, 0) - z * y[k] + Math.log1p(Math.exp(-Math.abs(z)));
    if (z > 0 === y[k] > 0.5) right++;
  }
  return { loss: loss / y.length, accuracy: right / y.length };
}

// Train tensors by a rule: `step(lr)` uses each tensor's gradient g.
function makeRun(name, hyper, tensors) {
  const rule = RULES[name], set = { ...rule.hyper, ...hyper }, step = choose(rule, set);
  const run = { tensors, t: 0, states: null };
  run.step = (lr) => {
    set.lr = lr;
    run.states ??= tensors.map(({ p, g }) => begin(rule, p, g, set));
    run.t++;
    tensors.forEach(({ p, g }, k) => step(p, g, run.t, run.states[k], set));
  };
  return run;
}

// Endless batches of indices, shuffled in every epoch.
function makeBatches(count, size, seed) {
  const twister = new KEPT.MersenneTwister(seed), order = Int32Array.from({ length: count }, (_, k) => k);
  let next = count;
  return () => {
    if (next + size > count) {
      for (let k = count - 1; k > 0; k--) {
        const other = Math.floor(twister.random() * (k + 1));
        [order[k], order[other]] = [order[other], order[k]];
      }
      next = 0;
    }
    next += size;
    return order.subarray(next - size, next);
  };
}

// Why a rule cannot train the network on this page; "" if it can.
function refusedInNetwork({ apart, reach, evaluations, name }) {
  if (name === "newton") return "it needs the Hessian";
  if (apart) return "its step for a matrix is not in this page";
  if (evaluations > 1) return `it asks for ${evaluations} gradients a step`;
  if (reach === "model") return "it looks over all tensors at once";
  return name.startsWith("switch") ? "it is shown on surfaces" : "";
}

// Lessons: a sentence, a question, and an explanation. The paths are hidden until the question is answered. The right answer and
// every number are computed from the paths. `lookAt` computes the paths of an address, by their labels.
const endOf = ({ values, last }) => values[last];
const meanOf = (count) => ({ values }) => values.slice(-count).reduce((sum, x) => sum + x, 0) / count;
const meanOfLastHalf = meanOf(100), meanAtTheEnd = meanOf(50);
const pointOf = ({ points }, k) => [points[2 * k], points[2 * k + 1]];
const turnsOf = ({ points, last }) => {
  let count = 0;
  for (let k = 1; k <= last; k++) if (points[2 * k] * points[2 * k - 2] < 0) count++;
  return count;
};
const lengthOf = (path, k) => Math.hypot(...pointOf(path, k).map((x, i) => x - path.points[i]));
const longestOf = ({ points, last }) => {
  const lengths = Array.from({ length: last }, (_, k) => Math.hypot(points[2 * k + 2] - points[2 * k], points[2 * k + 3] - points[2 * k + 1]));
  const length = Math.max(...lengths);
  return { length, step: lengths.indexOf(length) + 1 };
};
const leastOf = (paths, of) => Object.keys(paths).reduce((best, name) => (of(paths[name]) < of(paths[best]) ? name : best));

const SADDLE = "surface=saddle&start=1,0.001&steps=200&rules=sgd@0.05,adagrad@0.05,adam@0.05";
const VALLEY = "surface=valley&start=-4.5,1.2&steps=60&rules=sgd@0.03";
const BOUND = "surface=valley&start=-4.5,0.2&steps=40&rules=sgd@0.041";
const NOISE = "surface=bowl&start=-1.5,1&steps=200&noise=1.5&seed=0&rules=sgd@0.3,schedule_free_sgd@0.3";
const MOMENTUM = "surface=bowl&start=-1.5,1&steps=100&rules=momentum@0.05";
const SWITCH = "surface=valley&start=-4.5,1.2&steps=200&noise=1&seed=0&rules=sgd@0.01,adam@0.2,switch(adam,sgd)(at=60,then_ratio=0.05)@0.2";
const TURN = "surface=valley&start=-4.5,1.2&steps=150&rules=sgd@0.03,adam@0.3";
const TURNED = "surface=valley&turn=45&steps=150&rules=sgd@0.03,adam@0.3";
const EPSILON = "surface=plateau&start=-3,2&steps=100&rules=adam@0.05,adam(eps=1)@0.05";
const TOGETHER = "surface=valley&start=-4.5,0.6&steps=60&rules=sgd@0.039,momentum(momentum=0.95)@0.0614,momentum(momentum=0.566)@0.0614";
const FORGETTING = "surface=rosenbrock&start=1.8,-0.8&steps=100&rules=adam@0.1,adam(beta2=0.5)@0.1";

const leave = ({ leavesAt }) => leavesAt ?? Infinity;
const LESSONS = [
  {
    title: "The saddle",
    sentence: "A saddle is level in the middle, up along x and down along y. The start is almost on the ridge: y is 0.001.",
    question: "All three have rate 0.05. Which leaves the frame first?",
    look: SADDLE,
    options: [
      ["SGD", ({ paths }) => leastOf(paths, leave) === "sgd"],
      ["Adagrad", ({ paths }) => leastOf(paths, leave) === "adagrad"],
      ["Adam", ({ paths }) => leastOf(paths, leave) === "adam"],
    ],
    reveal: ({ paths }) =>
      `Adam leaves at step ${leave(paths.adam)}, SGD at step ${leave(paths.sgd)}, Adagrad at step ${leave(paths.adagrad)}. ` +
      "Adam divides each coordinate by the size of its own gradients, so a tiny slope along y gives a full step at once. SGD multiplies y by 1 + 2 · 0.05 at every step: slow from 0.001, then ever faster. Adagrad starts like Adam, but divides by the root of the sum of all squares, and slows down. Try other rates: the order is theirs as much as the rules'.",
  },
  {
    title: "The long valley",
    sentence: "This valley curves 50 times as much across (y) as along (x), and one rate must serve both.",
    question: "SGD takes 60 steps at rate 0.03. Which coordinate is still far from 0?",
    look: VALLEY,
    options: [
      ["x, along the floor", ({ paths: { sgd } }) => Math.abs(pointOf(sgd, sgd.last)[0]) > 100 * Math.abs(pointOf(sgd, sgd.last)[1])],
      ["y, across the valley", ({ paths: { sgd } }) => Math.abs(pointOf(sgd, sgd.last)[1]) > 100 * Math.abs(pointOf(sgd, sgd.last)[0])],
      [
        "Both are about as close",
        ({ paths: { sgd } }) => {
          const [x, y] = pointOf(sgd, sgd.last).map(Math.abs);
          return x <= 100 * y && y <= 100 * x;
        },
      ],
    ],
    reveal: ({ paths: { sgd } }) => {
      const [x, y] = pointOf(sgd, sgd.last);
      return (
        `x is ${number(x, 3)}, y is ${number(y, 2)}. A step multiplies x by 1 − 0.03 · 1 = 0.97 and y by 1 − 0.03 · 50 = −0.5: ` +
        "across the valley it jumps from side to side and settles, along the floor it creeps. A larger rate would help x and lose y; that is what momentum and adaptive rules are for."
      );
    },
  },
  {
    title: "Too large a rate",
    sentence: "Across this valley the curvature is λ = 50, and the rate is 0.041. A step multiplies y by 1 − rate · λ.",
    question: "What does y do in 40 steps?",
    look: BOUND,
    options: [
      ["It settles, slowly", ({ paths: { sgd } }) => Math.abs(pointOf(sgd, sgd.last)[1]) < 0.9 * 0.2],
      ["It jumps from side to side, as wide as at first", ({ paths: { sgd } }) => Math.abs(Math.abs(pointOf(sgd, sgd.last)[1]) - 0.2) <= 0.1 * 0.2],
      ["It jumps wider at every step", ({ paths: { sgd } }) => Math.abs(pointOf(sgd, sgd.last)[1]) > 1.1 * 0.2],
    ],
    reveal: ({ paths: { sgd }, surface }) => {
      const { largest } = curvature(surface);
      return (
        `1 − 0.041 · ${number(largest)} = ${number(1 - 0.041 * largest)}: every step makes y ${number(Math.abs(1 - 0.041 * largest))} times as large, and after ${sgd.last} it is ${number(pointOf(sgd, sgd.last)[1], 3)}. ` +
        `The bound is 2/λ = ${number(2 / largest)}. Set the rate to 0.039 and see it settle: on a quadratic the largest curvature alone decides what is too large.`
      );
    },
  },
  {
    title: "Noise and averaging",
    sentence: "Gradients are noisy here, as with small batches: the same noise for both rules. Schedule-free SGD returns an average of its points.",
    question: "Both have rate 0.3. Compare their mean height over the last 100 steps.",
    look: NOISE,
    options: [
      ["SGD is more than twice as high", ({ paths }) => meanOfLastHalf(paths.sgd) > 2 * meanOfLastHalf(paths.schedule_free_sgd)],
      ["They are within a factor of two", ({ paths }) => {
        const ratio = meanOfLastHalf(paths.sgd) / meanOfLastHalf(paths.schedule_free_sgd);
        return ratio <= 2 && ratio >= 0.5;
      }],
      ["Schedule-free SGD is more than twice as high", ({ paths }) => meanOfLastHalf(paths.schedule_free_sgd) > 2 * meanOfLastHalf(paths.sgd)],
    ],
    reveal: ({ paths }) =>
      `SGD: ${number(meanOfLastHalf(paths.sgd), 2)}; with averaging: ${number(meanOfLastHalf(paths.schedule_free_sgd), 2)}. ` +
      "At a constant rate SGD never comes to rest: each step adds fresh noise, and the height fluctuates about a level that grows with the rate. In an average of many points most of the noise cancels. Choose the linear schedule: a falling rate quiets SGD too.",
  },
  {
    title: "Momentum's overshoot",
    sentence: "Momentum keeps 0.9 of its last step and adds the new gradient. The bowl is round, and its minimum at 0.",
    question: "How often does x change its sign in 100 steps?",
    look: MOMENTUM,
    options: [
      ["Never: it comes from one side", ({ paths }) => turnsOf(paths.momentum) === 0],
      ["Once, and then it comes back to rest", ({ paths }) => turnsOf(paths.momentum) === 1],
      ["Several times: it swings", ({ paths }) => turnsOf(paths.momentum) > 1],
    ],
    reveal: ({ paths: { momentum } }) =>
      `x changes its sign ${turnsOf(momentum)} times. The velocity gained on the way down carries it up the other side, and only a tenth of it is lost at each step. Lower momentum to 0.5 among its hyperparameters and count again. SGD on this bowl, at any rate below 0.5, never changes the sign.`,
  },
  {
    title: "Adam, then SGD",
    sentence: "Gradients are noisy here. SGD at 0.01 is slow along the floor; Adam at 0.2 is there soon. The third rule is Adam for 60 steps, and after them SGD at 0.01.",
    question: "Which is lowest on average over the last 50 steps?",
    look: SWITCH,
    options: [
      ["SGD all the way", ({ paths }) => leastOf(paths, meanAtTheEnd) === "sgd"],
      ["Adam all the way", ({ paths }) => leastOf(paths, meanAtTheEnd) === "adam"],
      ["Adam, then SGD", ({ paths }) => leastOf(paths, meanAtTheEnd).startsWith("switch")],
    ],
    reveal: ({ paths }) => {
      const [sgd, adam, both] = Object.values(paths).map((path) => number(meanAtTheEnd(path), 2));
      return (
        `SGD: ${sgd}; Adam: ${adam}; Adam, then SGD: ${both}. Adam divides by the size of its gradients, so at the bottom, where they are only noise, its steps stay as large as its rate. ` +
        "SGD's steps shrink with the gradient: slow on the way, quiet at the end. The switch combines the two. Change its step, or give Adam the linear schedule instead."
      );
    },
  },
  {
    title: "The turned valley",
    sentence: "Here you see SGD and Adam in a valley along the axes. Now it will be turned by 45 degrees, and the start with it.",
    question: "Whose heights change, step by step?",
    look: TURN,
    after: TURNED,
    options: [
      ["Both", (before) => changesBy(before, "sgd") && changesBy(before, "adam")],
      ["Only SGD's", (before) => changesBy(before, "sgd") && !changesBy(before, "adam")],
      ["Only Adam's", (before) => !changesBy(before, "sgd") && changesBy(before, "adam")],
    ],
    reveal: (before) => {
      const after = lookAt(TURNED), ends = (name) => `${number(endOf(before.paths[name]), 3)} along the axes and ${number(endOf(after.paths[name]), 3)} turned`;
      return `SGD ends at ${ends("sgd")}: its path only turns. Adam ends at ${ends("adam")}. Adam scales x and y each by the size of its own gradients; in the turned valley both see the same mixture of steep and flat, and scaling them cannot tell the two apart. Turn by hand and watch.`;
    },
  },
  {
    title: "The ε of Adam",
    sentence: "Adam divides by √v̂ + ε. Far out on the plateau the gradient is tiny, and the usual ε of 1e-8 smaller still.",
    question: "One Adam has ε = 1e-8, the other ε = 1. How long is their first step?",
    look: EPSILON,
    options: [
      ["The same", ({ paths }) => Math.abs(lengthOf(paths.adam, 1) / lengthOf(paths["adam(eps=1)"], 1) - 1) < 0.1],
      ["ε = 1: more than ten times as long", ({ paths }) => lengthOf(paths["adam(eps=1)"], 1) > 10 * lengthOf(paths.adam, 1)],
      ["ε = 1e-8: more than ten times as long", ({ paths }) => lengthOf(paths.adam, 1) > 10 * lengthOf(paths["adam(eps=1)"], 1)],
    ],
    reveal: ({ paths }) =>
      `${number(lengthOf(paths.adam, 1), 3)} with ε = 1e-8, ${number(lengthOf(paths["adam(eps=1)"], 1), 2)} with ε = 1. ` +
      "A small ε lets Adam take a step of its rate however small the gradient is; an ε far above √v̂ takes the scaling away, and what is left is SGD with momentum. ε is no detail of rounding: it says which gradients count as small.",
  },
  {
    title: "Rate and momentum",
    sentence: "A valley with curvatures 1 and 50. SGD has a rate of 0.039, just below its bound 2/λ = 0.04; both momentum rules have 0.0614, at which SGD would diverge.",
    question: "Which is lowest after 60 steps?",
    look: TOGETHER,
    panel: "phase",
    options: [
      ["SGD", ({ paths }) => leastOf(paths, endOf) === "sgd"],
      ["Momentum 0.95", ({ paths }) => leastOf(paths, endOf) === "momentum(momentum=0.95)"],
      ["Momentum 0.566", ({ paths }) => leastOf(paths, endOf) === "momentum(momentum=0.566)"],
    ],
    reveal: ({ paths, surface }) => {
      const found = curvature(surface), best = bestMomentum(found), heights = Object.values(paths).map((path) => number(endOf(path), 2));
      const swings = dampingOf(0.0614, 0.95, found.smallest).factor;
      return (
        `SGD: ${heights[0]}; momentum 0.95: ${heights[1]}; momentum 0.566: ${heights[2]}. On a quadratic one pair of rate and momentum is best, and 0.0614 with 0.566 is that pair: both directions are critically damped, at the border of swinging, and in the long run each step leaves ${number(best.factor, 3)} of the distance. ` +
        `SGD at best leaves ${number(best.plain, 3)}. With 0.95 both directions swing, and √0.95 = ${number(swings, 3)} is left. Drag the point on the map of rate and momentum: left of the star the flat direction creeps, above it both swing, right of it the path soon diverges.`
      );
    },
  },
  {
    title: "Forgetting",
    sentence: "Adam averages gradients over about 1/(1 − β₁) steps, here 10, and their squares over about 1/(1 − β₂). The start is on a steep wall: the first gradients are huge, the later ones small.",
    question: "One Adam has β₂ = 0.999, the other β₂ = 0.5: it forgets squares sooner than gradients. The rate is 0.1. How long is their longest step?",
    look: FORGETTING,
    panel: "step",
    options: [
      ["Less than twice the rate for both", ({ paths }) => Object.values(paths).every((path) => longestOf(path).length < 0.2)],
      ["β₂ = 0.999: more than three times the rate", ({ paths }) => longestOf(paths.adam).length > 0.3],
      ["β₂ = 0.5: more than three times the rate", ({ paths }) => longestOf(paths["adam(beta2=0.5)"]).length > 0.3],
    ],
    reveal: ({ paths }) => {
      const [slow, fast] = [paths.adam, paths["adam(beta2=0.5)"]].map(longestOf);
      return (
        `${number(slow.length, 3)} with β₂ = 0.999, at step ${slow.step}; ${number(fast.length, 3)} with β₂ = 0.5, at step ${fast.step}. ` +
        "Off the wall the squares are soon forgotten, so √v̂ is small again, while m̂ still remembers the huge gradients: their ratio, which a long memory of squares keeps near 1, grows far beyond it. That is why β₂ is usually set above β₁. Follow the second rule step by step under This step, and compare m̂ with √v̂."
      );
    },
  },
];

// Whether turning the valley changes a rule's heights by more than rounding does.
function changesBy(before, name) {
  const after = lookAt(TURNED);
  return before.paths[name].values.some((value, k) => Math.abs(after.paths[name].values[k] - value) > 1e-6 * (1 + Math.abs(value)));
}

// The surface of a state, turned as it says.
const plainSurface = ({ formula, surface }) => (formula ? surfaceOfFormula(formula) : SURFACES[surface]);
const surfaceOf = (state) => turned(plainSurface(state), state.turn);

// The paths of an address by their labels, whatever the page shows.
function lookAt(text) {
  const state = readState(text, START), surface = surfaceOf(state);
  state.start ??= surface.start;
  const paths = Object.fromEntries(state.rules.map((entry) => [entryText(entry, false), pathOf(entry, surface, state)]));
  return { surface, state, paths };
}

// Newton's method, beside the library's rules: a step to the stationary point of the surface's second-order model.
RULES.newton = {
  name: "newton", reference: "Newton's method with the exact Hessian, undamped", rate: 1, evaluations: 1, reach: "element",
  style: { colour: "#000000", dash: "dotted" }, hyper: { lr: 1 }, domains: {}, offered: [], refused: [], apart: "", state: {},
  choices: [
    {
      when: {},
      step(p, g, t, state, { lr }, f, note) {
        const [xx, xy, yy] = f.hessian(p);
        const H_x = [xx, xy];
        const H_y = [xy, yy];
        const det = xx * yy - xy * xy;
        const d = [(yy * g[0] - xy * g[1]) / det, (xx * g[1] - xy * g[0]) / det];
        for (let i = 0; i < 2; i++) {
          const p_t = p[i] - lr * d[i];
          if (note) { note("H_x", i, H_x[i]); note("H_y", i, H_y[i]); note("d", i, d[i]); note("p_t", i, p_t); }
          p[i] = p_t;
        }
        if (note) note("det", -1, det);
      },
    },
  ],
};
const isNewton = ({ name }) => name === "newton";

// The first point of Newton's path, up to its last, where the Hessian is not positive definite, with its curvatures; null if none.
function indefiniteOn(path, { f }) {
  const g = [0, 0], h = [0, 0, 0];
  for (let k = 0; k < path.last; k++) {
    f(path.points.subarray(2 * k, 2 * k + 2), g, h);
    const { smallest, largest } = curvesOf(h);
    if (!(smallest > 0)) return { step: k + 1, smallest, largest };
  }
  return null;
}

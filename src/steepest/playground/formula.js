// A custom formula: parsed by math.js, checked node by node against an allowlist, never executed as code.
const FUNCTIONS = {
  sin: Math.sin, cos: Math.cos, tan: Math.tan, exp: Math.exp, log: Math.log, sqrt: Math.sqrt,
  sinh: Math.sinh, cosh: Math.cosh, tanh: Math.tanh, atan: Math.atan, abs: Math.abs,
};
const INNER = { ...FUNCTIONS, sign, sec: (x) => 1 / Math.cos(x), sech: (x) => 1 / Math.cosh(x) }; // functions that occur in derivatives
const CONSTANTS = { pi: Math.PI, e: Math.E };
const OPERATIONS = {
  add: ["+", (a, b) => (p) => a(p) + b(p)],
  subtract: ["-", (a, b) => (p) => a(p) - b(p)],
  multiply: ["*", (a, b) => (p) => a(p) * b(p)],
  divide: ["/", (a, b) => (p) => a(p) / b(p)],
  pow: ["**", (a, b) => (p) => a(p) ** b(p)],
  unaryMinus: ["-", (a) => (p) => -a(p)],
  unaryPlus: ["+", (a) => a],
};
const ALLOWED = `Write numbers, x and y, + - * / **, parentheses, and ${[...Object.keys(FUNCTIONS), ...Object.keys(CONSTANTS)].join(", ")}.`;
const LONGEST = 500, DEEPEST = 30, MOST_NODES = 4000; // characters, nesting depth, nodes of a formula and its derivatives

// The surface of a typed formula, with the formula in Python syntax. Throws an Error whose message is a sentence.
function surfaceOfFormula(text) {
  const refuse = (why) => {
    throw new Error(`This formula is refused: ${why}. ${ALLOWED}`);
  };
  if (text.length > LONGEST) refuse(`it has ${text.length} characters, and ${LONGEST} are the most`);
  let tree;
  try {
    tree = KEPT.math.parse(text.replaceAll("**", "^"));
  } catch {
    refuse("it cannot be read");
  }
  const python = asPython(tree, FUNCTIONS, refuse), count = { left: MOST_NODES };
  if (python.length > LONGEST) refuse(`it has ${python.length} characters in Python, and ${LONGEST} are the most`);
  tree.traverse(() => count.left--);
  if (depthOf(tree) > DEEPEST || count.left < MOST_NODES - 250) refuse("it is too long to find its slopes while you wait; write it shorter");
  const named = new Set(tree.filter((node) => node.type === "SymbolNode").map((node) => node.name));
  const letters = named.has("x1") || named.has("x2") ? ["x1", "x2"] : ["x", "y"];
  if (!named.has(letters[1])) refuse(`it has no ${letters[1]}`);
  if (letters[0] === "x1" && (named.has("x") || named.has("y"))) refuse("it mixes x and y with x1 and x2");
  const height = asFunction(compiled(tree, letters));
  const slopeTrees = letters.map((letter) => {
    const slope = KEPT.math.derivative(tree, letter, { simplify: false });
    slope.traverse(() => count.left--);
    if (count.left < 0) refuse("its slopes are too long to be computed while you wait; write it shorter");
    asPython(slope, INNER, refuse); // a derivative must pass the same list
    return slope;
  });
  const slopes = slopeTrees.map((slope) => asFunction(compiled(slope, letters)));
  let curves = null; // derived on first use: they take longer than the gradient
  const f = (p, g, h) => {
    g[0] = slopes[0](p);
    g[1] = slopes[1](p);
    if (h) (curves ??= curvesOfFormula(slopeTrees, letters)).forEach((curve, k) => (h[k] = curve(p)));
    return height(p);
  };
  return { name: python, formula: python, domain: [[-3, 3], [-3, 3]], start: [-2, 1.5], minima: [], rates: {}, f, own: true };
}

// The second derivatives xx, xy, yy, from the first; NaN if they would take too long.
function curvesOfFormula([x, y], letters) {
  const pairs = [[x, letters[0]], [x, letters[1]], [y, letters[1]]];
  const refuse = () => {
    throw new Error("too long");
  };
  try {
    return pairs.map(([slope, letter]) => {
      const curve = KEPT.math.derivative(slope, letter, { simplify: false });
      let left = MOST_NODES;
      curve.traverse(() => left--);
      if (left < 0) refuse();
      asPython(curve, INNER, refuse);
      return asFunction(compiled(curve, letters));
    });
  } catch {
    return pairs.map(() => () => NaN);
  }
}

// The formula in Python syntax; refuses anything not on the allowlist.
function asPython(node, functions, refuse) {
  const inner = (each) => asPython(each, functions, refuse);
  switch (node.type) {
    case "ConstantNode":
      if (typeof node.value !== "number" || !(Math.abs(node.value) <= 1e12)) refuse(`${String(node.value).slice(0, 20)} is no number up to 1e12`);
      return String(node.value);
    case "SymbolNode":
      if (!["x", "y", "x1", "x2"].includes(node.name) && !Object.hasOwn(CONSTANTS, node.name)) refuse(`'${node.name}' is not known`);
      return node.name;
    case "ParenthesisNode":
      return `(${inner(node.content)})`;
    case "OperatorNode": {
      if (!Object.hasOwn(OPERATIONS, node.fn)) refuse(`'${node.op}' is not allowed`);
      if (node.implicit) refuse(`write * in '${String(node).slice(0, 20)}'`);
      const [sign] = OPERATIONS[node.fn], parts = node.args.map(inner), power = node.args[1];
      if (sign === "**" && power.type === "ConstantNode" && power.value > 100) refuse(`the power ${power.value} is larger than 100`);
      return parts.length === 1 ? `${sign}${parts[0]}` : parts.join("+-".includes(sign) ? ` ${sign} ` : sign);
    }
    case "FunctionNode":
      if (node.fn.type !== "SymbolNode" || !Object.hasOwn(functions, node.fn.name)) refuse(`'${String(node.fn).slice(0, 20)}' is not known`);
      if (node.args.length !== 1) refuse(`${node.fn.name} takes one number`);
      return `${node.fn.name}(${inner(node.args[0])})`;
    default:
      return refuse(`'${String(node).slice(0, 20)}' is not allowed`);
  }
}

// A function of the point, or a number. `abs(u) / u`, the derivative of abs(u), is 0 at u = 0, as for the named surfaces.
function compiled(node, letters) {
  if (node.type === "ConstantNode") return node.value;
  if (node.type === "ParenthesisNode") return compiled(node.content, letters);
  if (node.type === "SymbolNode") {
    const place = letters.indexOf(node.name);
    return place < 0 ? CONSTANTS[node.name] : (p) => p[place];
  }
  const parts = node.args.map((each) => compiled(each, letters)), [a, b] = parts, known = parts.every((x) => typeof x === "number");
  if (node.type === "FunctionNode") {
    const call = INNER[node.fn.name];
    return known ? call(a) : (p) => call(a(p));
  }
  const [top, under] = node.args;
  if (node.fn === "divide" && top.type === "FunctionNode" && top.fn.name === "abs" && String(top.args[0]) === String(under)) {
    return known ? sign(b) : (p) => sign(b(p));
  }
  if (!known) {
    if (node.fn === "multiply" && (a === 0 || b === 0)) return 0;
    if ((node.fn === "multiply" && a === 1) || (node.fn === "add" && a === 0)) return b;
    if ((["multiply", "divide", "pow"].includes(node.fn) && b === 1) || (["add", "subtract"].includes(node.fn) && b === 0)) return a;
    if (node.fn === "pow" && b === 2) return (p) => a(p) ** 2;
  }
  const made = OPERATIONS[node.fn][1](...parts.map(asFunction));
  return known ? made() : made;
}

const depthOf = (node) => 1 + Math.max(0, ...(node.args ?? (node.content ? [node.content] : [])).map(depthOf));
const asFunction = (x) => (typeof x === "number" ? () => x : x);

// Helpers: elements, number formats, rates on a ladder, styles of rules.
const byId = (id) => document.getElementById(id);

// An element: attributes by name (functions and values are set as properties), then children; strings become text.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (typeof v === "function" || k === "value" || k === "checked" || k === "disabled" || k === "hidden") made[k] = v;
    else if (v !== null && v !== undefined) made.setAttribute(k, v);
  }
  made.append(...children);
  return made;
}

// A number with this many significant digits, without trailing zeros.
function number(x, digits = 4) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "not a number" : x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text = x === 0 ? "0" : size >= 1e5 || size < 1e-3 ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)));
  return text.replace(/\.?0+e/, "e").replace("e+", "e").replace("-", "−").replace("e-", "e−");
}

// The next rate up (1) or down (-1) on the ladder 1, 3, 10, 30, ...
function ladder(rate, up) {
  const places = 2 * Math.log10(rate), near = 1e-9;
  const rung = (k) => Number(`${k % 2 === 0 ? 1 : 3}e${Math.floor(k / 2)}`);
  let k = Math.floor(places) - 2;
  if (up > 0) {
    while (rung(k) <= rate * (1 + near)) k++;
    return rung(k);
  }
  k += 4;
  while (rung(k) >= rate * (1 - near)) k--;
  return rung(k);
}

const scheme = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
const dark = () => Boolean(scheme?.matches);
const still = () => Boolean(globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches);

const DASHES = { solid: [], dashed: [7, 4], dotted: [2, 3.5], dashdot: [8, 3, 2, 3] };
const MARKERS = ["circle", "square", "triangle", "diamond", "cross", "plus"];

// A marker for each rule: marker and dash together are unique, so colour is not needed; hollow ones once the others are used.
const markers = (() => {
  const used = new Set(), own = {};
  Object.values(RULES).forEach(({ name, style }, i) => {
    const turned = MARKERS.map((_, k) => MARKERS[(i + k) % MARKERS.length]), offered = [...turned, ...turned.map((each) => `hollow ${each}`)];
    own[name] = offered.find((each) => !used.has(each + style.dash)) ?? offered[0];
    used.add(own[name] + style.dash);
  });
  return own;
})();

// The style of a rule; `variant` distinguishes rules of the same name.
function styleOf(name, variant = 0) {
  const { colour, dash } = RULES[name].style, dashes = Object.keys(DASHES);
  return {
    colour: dark() && colour === "#000000" ? "#ffffff" : colour,
    dash: DASHES[dashes[(dashes.indexOf(dash) + variant) % dashes.length]],
    marker: variant ? MARKERS[(MARKERS.indexOf(markers[name].replace("hollow ", "")) + variant) % MARKERS.length] : markers[name],
  };
}

// Trace a marker's outline around a point.
function outline(draw, kind, x, y, r) {
  const marker = kind.replace("hollow ", "");
  draw.beginPath();
  if (marker === "circle") draw.arc(x, y, r, 0, 2 * Math.PI);
  else if (marker === "square") draw.rect(x - r, y - r, 2 * r, 2 * r);
  else if (marker === "triangle") draw.moveTo(x, y - 1.3 * r), draw.lineTo(x + 1.2 * r, y + r), draw.lineTo(x - 1.2 * r, y + r);
  else if (marker === "diamond") {
    draw.moveTo(x, y - 1.4 * r), draw.lineTo(x + 1.4 * r, y), draw.lineTo(x, y + 1.4 * r), draw.lineTo(x - 1.4 * r, y);
  } else {
    const turn = marker === "cross" ? Math.PI / 4 : 0;
    for (let k = 0; k < 12; k++) {
      const angle = turn + (Math.floor(k / 3) * Math.PI) / 2, [a, b] = [[0.45, 1.4], [-0.45, 1.4], [-0.45, 0.45]][k % 3];
      const to = [x + r * (b * Math.cos(angle) + a * Math.sin(angle)), y + r * (b * Math.sin(angle) - a * Math.cos(angle))];
      if (k) draw.lineTo(...to);
      else draw.moveTo(...to);
    }
  }
  draw.closePath();
}

// Run a generator in slices, so that the page stays responsive; returns a function that stops it.
function inSlices(work, most = 10) {
  let stopped = false;
  const on = () => {
    const until = performance.now() + most;
    while (!stopped && performance.now() < until) if (work.next().done) return;
    if (!stopped) setTimeout(on, 4);
  };
  setTimeout(on, 30);
  return () => (stopped = true);
}

// The list of rules: rates, hyperparameters, and which rule the panels follow.
function changeRules() {
  const all = looks();
  byId("rules").replaceChildren(...state.rules.map((entry, i) => row(entry, i, all[i])));
  offerRules();
}

function offerRules() {
  const there = new Set(state.rules.map(labelOf));
  byId("add").replaceChildren(
    el("option", { value: "" }, "Add a rule …"),
    ...Object.values(RULES).map(({ name, apart, reach }) =>
      el("option", { value: name, disabled: Boolean(apart) || there.has(name) }, apart ? `${name}: needs a matrix` : reach === "model" ? `${name} (the whole model: here, the point)` : name),
    ),
  );
}

function row(entry, i, look) {
  const label = labelOf(entry), rate = el("input", { type: "number", step: "any", min: 0, value: entry.lr, "aria-label": `Rate of ${label}` });
  const slider = el("input", { type: "range", min: -5, max: 1.5, step: 0.01, value: Math.log10(entry.lr), "aria-label": `Rate of ${label}, fine` });
  const give = (lr) => {
    byId("rules-said").textContent = isRate(lr) ? "" : "A rate is a number above 0, up to 1,000,000.";
    rate.setAttribute("aria-invalid", !isRate(lr));
    if (!isRate(lr)) return;
    entry.lr = lr;
    if (document.activeElement !== rate) rate.value = Number(lr.toPrecision(4));
    if (document.activeElement !== slider) slider.value = Math.log10(lr);
    slider.setAttribute("aria-valuetext", number(lr));
    changePaths();
  };
  rate.oninput = () => give(rate.value === "" ? NaN : Number(rate.value));
  slider.oninput = () => give(Number((10 ** slider.value).toPrecision(3)));
  const step = (up, sign) => el("button", { type: "button", "aria-label": `${up > 0 ? "Raise" : "Lower"} the rate of ${label}`, onclick: () => give(ladder(entry.lr, up)) }, sign);
  const name = el("button", { type: "button", class: "name", "aria-pressed": state.follow === i, title: RULES[entry.name].reference, onclick: () => follow(i) }, swatch(look), nameOf(entry));
  const off = el("button", { type: "button", class: "off", "aria-label": `Remove ${label}`, disabled: state.rules.length < 2, onclick: () => remove(i) }, "✕");
  const said = el("p", { class: "mistake", role: "alert" });
  const fields = RULES[entry.name].offered.map((k) => field(entry, k, said));
  slider.setAttribute("aria-valuetext", number(entry.lr));
  const more = el("div", { class: "more", hidden: !entry.open }, el("div", { class: "hyper" }, ...fields), said);
  const open = el("button", { type: "button", class: "off", "aria-expanded": Boolean(entry.open), "aria-label": `Hyperparameters of ${label}`, title: "Hyperparameters", disabled: !fields.length }, "⋯");
  open.onclick = () => {
    more.hidden = !(entry.open = more.hidden);
    open.setAttribute("aria-expanded", !more.hidden);
  };
  return el(
    "li",
    { class: state.follow === i ? "followed" : "" },
    el("div", { class: "top" }, name, el("span", { class: "end" }), open, off),
    el("div", { class: "rate" }, el("span", {}, "rate"), step(-1, "−"), rate, step(1, "+"), slider),
    more,
  );
}

// The name, with changed hyperparameters in small type.
const nameOf = (entry) => el("span", {}, ...entry.name.split(/(?<=[_(,])/).flatMap((part) => [part, el("wbr")]), el("small", {}, labelOf(entry).slice(entry.name.length)));

const isTwin = (entry, but = null) => state.rules.some((each) => each !== but && areTwins(each, entry));

function field(entry, k, said) {
  const rule = RULES[entry.name], standing = hyperOf(entry)[k], words = rule.domains[k]?.[3] ?? "";
  const kind = typeof rule.hyper[k] === "boolean" ? { type: "checkbox", checked: standing } : { type: "number", step: "any", value: standing };
  const [low, high] = rule.domains[k] ?? [null, null];
  const input = el("input", { ...kind, min: low, max: high, title: words });
  input.onchange = () => {
    const value = input.type === "checkbox" ? input.checked : input.value === "" ? NaN : Number(input.value);
    const hyper = { ...entry.hyper, [k]: value };
    if (value === rule.hyper[k]) delete hyper[k];
    const twin = isTwin({ ...entry, hyper }, entry);
    const why = refusal(entry.name, hyperOf({ ...entry, hyper })) || (twin ? "this rule is in the list already, set the same" : "");
    said.textContent = why && `${why}.`.replace("..", ".");
    input.setAttribute("aria-invalid", Boolean(why));
    if (why) return;
    entry.hyper = hyper;
    offerRules();
    document.querySelectorAll("#rules .name")[state.rules.indexOf(entry)].lastChild.replaceWith(nameOf(entry));
    changePaths();
  };
  return el("label", { class: input.type === "checkbox" ? "tick" : "" }, ...(input.type === "checkbox" ? [input, k] : [k, input]));
}

// A small picture of a rule's line and marker.
function swatch({ colour, dash, marker }) {
  const canvas = { path: "", beginPath() {}, closePath() { this.path += "Z"; } };
  Object.assign(canvas, {
    moveTo(x, y) { this.path += `M${x.toFixed(1)} ${y.toFixed(1)}`; },
    lineTo(x, y) { this.path += `L${x.toFixed(1)} ${y.toFixed(1)}`; },
    rect(x, y, w, h) { this.path += `M${x} ${y}h${w}v${h}h${-w}`; },
    arc(x, y, r) { this.path += `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`; },
  });
  const hollow = marker.startsWith("hollow");
  outline(canvas, marker, 17, 7, 4.5);
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
    return made;
  };
  const svg = make("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" });
  svg.append(make("path", { d: "M0 7H34", stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash.join(" ") }), make("path", { d: canvas.path, fill: hollow ? "var(--paper)" : colour, stroke: hollow ? colour : "none", "stroke-width": 1.8 }));
  return svg;
}

// The names of the lines, below the map; rebuilt only when they change.
let legendShown = "";
function showLegend() {
  const labels = state.rules.map(shortOf), wanted = JSON.stringify([labels, dark()]);
  if (wanted === legendShown) return;
  legendShown = wanted;
  byId("legend").replaceChildren(...looks().map((look, i) => el("li", {}, swatch(look), labels[i])));
}

function follow(i) {
  state.follow = i;
  document.querySelectorAll("#rules>li").forEach((item, k) => {
    item.className = k === i ? "followed" : "";
    item.querySelector(".name").setAttribute("aria-pressed", k === i);
  });
  say();
}

function remove(i) {
  state.rules.splice(i, 1);
  state.follow = Math.min(state.follow >= i ? Math.max(state.follow - 1, 0) : state.follow, state.rules.length - 1);
  changeRules();
  changePaths();
  document.querySelectorAll("#rules .name")[Math.min(i, state.rules.length - 1)].focus();
}

function addRule(name) {
  byId("rules-said").textContent = state.rules.length >= MOST_RULES ? `${MOST_RULES} rules are the most at once; remove one first.` : "";
  if (!name || state.rules.length >= MOST_RULES) return;
  const entry = { name, lr: null, hyper: {} };
  if (isTwin(entry)) {
    byId("rules-said").textContent = `${labelOf(entry)} is in the list already; change its hyperparameters there first.`;
    return;
  }
  entry.lr = tuned(entry, surface, state);
  state.rules.push(entry);
  state.follow = state.rules.length - 1;
  changeRules();
  changePaths();
}

function tuneAll() {
  const waits = state.rules.map((entry) => () => (entry.lr = tuned(entry, surface, state)));
  for (const wait of waits) wait();
  changeRules();
  changePaths();
}

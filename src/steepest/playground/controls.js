// Event handlers of the controls.
const NUMBERS = ["steps", "noise", "seed"]; // number fields, by the names of their settings

// Tabs, by click or arrow keys.
function tabs(list, chosen) {
  const buttons = [...list.querySelectorAll("[role=tab]")];
  buttons.forEach((button, k) => {
    button.onclick = () => chosen(button.id.replace("tab-", ""));
    button.onkeydown = ({ key }) => {
      const next = buttons[(k + { ArrowRight: 1, ArrowLeft: -1 }[key] + buttons.length) % buttons.length];
      if (next) next.focus(), next.click();
    };
  });
}

function pick(names, name) {
  for (const each of names) {
    const tab = byId(`tab-${each}`), on = each === name;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !on;
  }
}

function choosePanel(name) {
  state.panel = name;
  pick(PANELS, name);
  byId("right").classList.toggle("phase", name === "phase");
}

function chooseTab(name) {
  state.tab = name;
  pick(["surface", "network"], name);
  for (const id of ["lesson-choice", "copy-python", "save-png", "save-svg"]) byId(id).hidden = name === "network";
  if (name === "network") stop(), networkTab.show();
  else networkTab.hide();
}

function connect() {
  const names = el("option", { value: "" }, "your own formula");
  byId("name").append(...Object.keys(SURFACES).map((name) => el("option", { value: name }, name)), names);
  byId("schedule").append(...SCHEDULE_NAMES.map((name) => el("option", { value: name }, name)));
  byId("lesson").append(el("option", { value: 0 }, "none"), ...LESSONS.map(({ title }, k) => el("option", { value: k + 1 }, `${k + 1} ${title}`)));
  byId("name").onchange = ({ target }) => {
    if (!target.value) {
      target.value = state.surface; // until a formula is typed
      return byId("formula").focus();
    }
    Object.assign(state, { surface: target.value, formula: "", start: null, turn: 0, lesson: 0 });
    for (const entry of state.rules) entry.lr = null;
    showAll();
  };
  byId("formula").onchange = ({ target }) => {
    try {
      const own = surfaceOfFormula(target.value.trim());
      Object.assign(state, { formula: own.formula, start: null, turn: 0, lesson: 0 });
      for (const entry of state.rules) entry.lr = null;
      showAll();
      target.setAttribute("aria-invalid", "false");
    } catch (error) {
      byId("formula-said").textContent = error.message;
      target.setAttribute("aria-invalid", "true");
    }
  };
  byId("turn").oninput = ({ target }) => {
    state.turn = Number(target.value);
    state.start = rotated(state.start, plainSurface(state), state.turn - turnOfStart).map((x) => Number(x.toFixed(12)));
    byId("turn-said").textContent = `${state.turn}°`;
    changeSurface();
    changePaths();
  };
  for (const [id, place] of [["start-x", 0], ["start-y", 1]]) {
    byId(id).oninput = ({ target }) => {
      const x = target.value === "" ? NaN : Number(target.value), at = [...state.start];
      target.setAttribute("aria-invalid", !(Math.abs(x) <= 1e6));
      if (!(Math.abs(x) <= 1e6)) return;
      at[place] = x;
      state.start = at;
      fit();
      changePaths();
    };
  }
  for (const id of NUMBERS) {
    byId(id).oninput = ({ target }) => {
      const x = target.value === "" ? NaN : Number(target.value), [low, high] = LIMITS[id], whole = id !== "noise";
      const holds = x >= low && x <= high && (!whole || Number.isInteger(x));
      const name = target.parentElement.firstChild.textContent.trim(), words = `${name} is a ${whole ? "whole " : ""}number from ${low} to ${high}.`;
      target.setAttribute("aria-invalid", !holds);
      target.dataset.wrong = holds ? "" : words;
      byId("run-said").textContent = NUMBERS.map((each) => byId(each).dataset.wrong).filter(Boolean).join(" ");
      if (!holds) return;
      const atEnd = state.at === state.steps;
      state[id] = x;
      if (id === "steps") {
        state.at = atEnd ? x : Math.min(state.at, x);
        byId("at").max = x;
      }
      changePaths();
    };
  }
  byId("schedule").onchange = ({ target }) => {
    state.schedule = target.value;
    changePaths();
  };
  byId("add").onchange = ({ target }) => {
    const name = target.value;
    target.value = "";
    addRule(name);
  };
  byId("tune").onclick = tuneAll;
  connectPhase();
  byId("lesson").onchange = ({ target }) => toLesson(Number(target.value));
  byId("first").onclick = () => (stop(), goTo(0));
  byId("back").onclick = () => (stop(), goTo(state.at - 1));
  byId("play").onclick = play;
  byId("forward").onclick = () => (stop(), goTo(state.at + 1));
  byId("last").onclick = () => (stop(), goTo(state.steps));
  byId("at").oninput = ({ target }) => (stop(), goTo(Number(target.value)));
  draggable(byId("start"));
  draggable(byId("map"));
  byId("start").onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const step = ((view.x1 - view.x0) / 100) * (event.shiftKey ? 5 : 1), span = view.x1 - view.x0;
    const least = surface.domain.map(([low, high]) => 2 * low - high), most = surface.domain.map(([low, high]) => 2 * high - low);
    const moved = state.start.map((x, i) => exact(Math.min(Math.max(x + step * way[i], least[i]), most[i]), span));
    state.start = moved;
    if (moved[0] < view.x0 || moved[0] > view.x1 || moved[1] < view.y0 || moved[1] > view.y1) fit();
    changePaths();
  };
  const cursor = (event) => {
    const { box, across } = scaleOfHeights, x = event.clientX - byId("heights").getBoundingClientRect().left;
    stop();
    goTo(Math.round(across.invert(Math.min(Math.max(x, box.left), box.right))));
  };
  byId("heights").onpointermove = (event) => event.pointerType === "mouse" && !playing && cursor(event);
  byId("heights").onclick = cursor;
  tabs(document.querySelector("header [role=tablist]"), (name) => {
    chooseTab(name);
    keepAddress();
    if (name === "surface") fit(), draw();
  });
  tabs(document.querySelector("#right [role=tablist]"), (name) => {
    choosePanel(name);
    draw(); // the plot of heights is lower beside the map of momentum
  });
  const giveRate = (lr) => {
    state.rules[state.follow].lr = lr;
    changeRules();
    changePaths();
  };
  byId("sweep").onclick = (event) => {
    if (!scaleOfRates) return;
    const x = event.clientX - byId("sweep").getBoundingClientRect().left;
    giveRate(Number(Math.min(Math.max(scaleOfRates.across.invert(x), RATES[0]), RATES.at(-1)).toPrecision(2)));
  };
  byId("sweep").onkeydown = (event) => {
    const up = { ArrowLeft: -1, ArrowRight: 1 }[event.key], lr = state.rules[state.follow].lr * 10 ** (up / 10);
    if (up) giveRate(Number(Math.min(Math.max(lr, RATES[0]), RATES.at(-1)).toPrecision(2)));
    if (up) event.preventDefault();
  };
  const startIn = (x, y) => startAt(exact(fromX(basinsView, x), basinsView.x1 - basinsView.x0), exact(fromY(basinsView, y), basinsView.x1 - basinsView.x0));
  byId("basins").onclick = (event) => {
    const box = byId("basins").getBoundingClientRect();
    if (basinsView) startIn(event.clientX - box.left, event.clientY - box.top);
  };
  byId("basins").onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || !basinsView) return;
    event.preventDefault();
    const { width, height, columns, rows } = basinsView;
    startIn(toX(basinsView, state.start[0]) + (way[0] * width) / columns, toY(basinsView, state.start[1]) + (way[1] * height) / rows);
  };
  byId("copy-link").onclick = () => {
    keepAddress();
    if (location.protocol === "about:") copy("Copied: put this after the address of the page itself", `#${writeState(state)}`);
    else copy("Copied: the address of what you see", location.href);
  };
  byId("copy-python").onclick = () => copy("Copied: Python that gives the same numbers", pythonOf(state));
  byId("save-png").onclick = savePng;
  byId("save-svg").onclick = () => save("svg", svgText(), "image/svg+xml");
  byId("save-json").onclick = () => save("json", JSON.stringify(state.tab === "network" ? networkTab.exportJson() : jsonOf(state, paths)), "application/json");
  new ResizeObserver(() => {
    if (byId("map").clientWidth) fit(), draw();
  }).observe(byId("map-box"));
  scheme.addEventListener("change", () => (fit(), changeRules(), draw()));
  addEventListener("hashchange", () => {
    state = readState(location.hash.slice(1), firstState());
    networkTab.read(new URLSearchParams(location.hash.slice(1)));
    showAll();
  });
}

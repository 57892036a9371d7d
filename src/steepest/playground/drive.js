// Playing the steps, dragging the start.

// Transport.
function goTo(at) {
  state.at = Math.min(Math.max(at, 0), state.steps);
  draw();
}

function stop() {
  playing = false;
  const button = byId("play");
  button.textContent = "▶";
  button.setAttribute("aria-label", "Play");
}

let plays = 0;
function play() {
  if (playing) return stop();
  if (state.at >= state.steps) state.at = 0;
  playing = true;
  const own = ++plays; // callbacks of an earlier play must stop
  byId("play").textContent = "❚❚";
  byId("play").setAttribute("aria-label", "Pause");
  let then = performance.now(), owed = 0;
  const on = (now) => {
    if (!playing || own !== plays) return;
    owed += ((now - then) / 1000) * Number(byId("speed").value);
    then = now;
    const whole = Math.floor(owed);
    owed -= whole;
    if (whole) goTo(state.at + whole);
    if (state.at >= state.steps) return stop();
    if (still()) setTimeout(() => on(performance.now()), 700);
    else requestAnimationFrame(on);
  };
  if (still()) setTimeout(() => on(performance.now()), 700);
  else requestAnimationFrame(on);
}

// Move the start.
function startAt(x, y) {
  if (!(Number.isFinite(x) && Number.isFinite(y))) return;
  state.start = [x, y];
  changePaths();
}

const exact = (x, span) => Number(x.toFixed(Math.max(3 - Math.floor(Math.log10(span)), 0))); // as fine as a pixel, and short

function drag(event) {
  const box = byId("map").getBoundingClientRect();
  const x = Math.min(Math.max(event.clientX - box.left, 0), view.width), y = Math.min(Math.max(event.clientY - box.top, 0), view.height);
  const span = view.x1 - view.x0;
  startAt(exact(fromX(view, x), span), exact(fromY(view, y), span));
}

function draggable(element) {
  if (element.id === "map") element.onclick = (event) => event.pointerType === "touch" && (drag(event), later());
  element.onpointerdown = (event) => {
    // a finger on the map scrolls the page; a tap or the handle moves the start
    if (event.button || (event.pointerType === "touch" && element.id === "map")) return;
    event.preventDefault();
    byId("start").focus({ preventScroll: true, focusVisible: false });
    element.setPointerCapture(event.pointerId);
    dragging = true;
    stop();
    stopWork();
    lookedAt = ""; // restart the stopped work when the pointer rests
    drag(event);
  };
  element.onpointermove = (event) => dragging && drag(event);
  element.onpointerup = element.onpointercancel = () => {
    if (!dragging) return;
    dragging = false;
    later();
  };
}

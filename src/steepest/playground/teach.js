// The card of a lesson: the question, then the answer and the paths.
function showLesson(answer = null) {
  const card = byId("lesson-card"), lesson = LESSONS[state.lesson - 1];
  card.hidden = !lesson;
  veiled = Boolean(lesson) && answer === null && !lesson.after;
  if (!lesson) return;
  const look = lookAt(lesson.look);
  const options = lesson.options.map(([text, holds], k) => {
    const right = answer !== null && holds(look), mark = answer === null ? "" : right ? "right" : k === answer ? "wrong" : "";
    const signs = { right: "✓ ", wrong: "✗ " };
    return el("button", { type: "button", class: mark, "aria-pressed": k === answer, disabled: answer !== null, onclick: () => answered(k) }, `${signs[mark] ?? ""}${text}`);
  });
  const parts = [el("h2", {}, `${state.lesson} of ${LESSONS.length} · ${lesson.title}`), el("p", {}, lesson.sentence), el("p", { class: "question", id: "question" }, lesson.question)];
  parts.push(el("div", { class: "options", role: "group", "aria-labelledby": "question" }, ...options));
  if (answer !== null) {
    const holds = lesson.options[answer][1](look), said = el("p", { id: "reveal", tabindex: -1 }, el("strong", {}, holds ? "Right. " : "Not so. "), lesson.reveal(look));
    const go = (k, text) => el("button", { type: "button", onclick: () => toLesson(k) }, text);
    parts.push(said, el("div", { class: "on" }, go(state.lesson, "Again"), state.lesson < LESSONS.length ? go(state.lesson + 1, "Next lesson") : go(0, "To the playground")));
  }
  card.replaceChildren(...parts);
}

function answered(k) {
  const lesson = LESSONS[state.lesson - 1];
  state = { ...readState(lesson.after ?? lesson.look, START), lesson: state.lesson, panel: state.panel }; // undo changes made before the answer
  state.follow = state.rules.length - 1;
  showAll();
  showLesson(k);
  state.at = still() ? state.steps : 0;
  changePaths();
  settle(); // at once: `later` waits until the steps have played
  byId("reveal").focus();
  if (innerWidth <= 800) byId("map-box").scrollIntoView({ block: "center" });
  if (!still()) play();
}

function toLesson(k) {
  const { panel } = state;
  state = { ...(k ? readState(LESSONS[k - 1].look, START) : firstState()), lesson: k, panel: LESSONS[k - 1]?.panel ?? panel };
  if (k) state.follow = state.rules.length - 1;
  showAll();
}

// Taking it along: the address, Python, pictures, numbers.
async function copy(title, text) {
  byId("code-title").textContent = title;
  byId("code").querySelector("pre").textContent = text;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    byId("code-title").textContent = title.replace("Copied", "Select and copy");
  }
  byId("code").showModal();
}

function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const shown = state.tab === "network" ? "network" : state.formula ? "formula" : state.surface;
  const link = el("a", { href: URL.createObjectURL(blob), download: `steepest-${shown.replace(/\W+/g, "-")}.${name}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}

const SHEET = 460; // the width of the heights beside the map

// The map, and the heights beside it, on one sheet.
function drawSheet(context) {
  const high = Math.min(view.height, 340);
  drawGround(context, groundOf(surface, view), view);
  drawMap(context);
  outline(context, "circle", toX(view, state.start[0]), toY(view, state.start[1]), 7);
  context.fillStyle = inks().paper;
  context.fill();
  context.strokeStyle = inks().ink;
  context.lineWidth = 3;
  context.stroke();
  context.fillStyle = inks().paper;
  context.fillRect(view.width, 0, SHEET, view.height);
  context.save();
  context.translate(view.width + 8, 4);
  drawHeights(context, SHEET - 12, high, shown(), { ...state, floor: floorNow() });
  context.restore();
}

function savePng() {
  const canvas = document.createElement("canvas"), context = sized(canvas, view.width + SHEET, view.height);
  drawSheet(context);
  canvas.toBlob((blob) => save("png", blob));
}

function svgText() {
  const context = new KEPT.SvgContext(view.width + SHEET, view.height);
  drawSheet(context);
  return context.getSerializedSvg();
}

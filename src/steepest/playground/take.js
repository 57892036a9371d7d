// Copy and save: the address, Python, pictures, numbers.
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
const HEIGHTS = 300;

const sheetHeight = () => Math.max(view.height, HEIGHTS + 24 + 18 * Math.ceil(paths.length / 2));

// The map, and the heights and names beside it, on one sheet.
function drawSheet(context) {
  context.fillStyle = inks().paper;
  context.fillRect(0, 0, view.width + SHEET, sheetHeight());
  drawGround(context, groundOf(surface, view), view);
  drawMap(context);
  outline(context, "circle", toX(view, state.start[0]), toY(view, state.start[1]), 7);
  context.fillStyle = inks().paper;
  context.fill();
  context.strokeStyle = inks().ink;
  context.lineWidth = 3;
  context.stroke();
  context.fillStyle = inks().paper;
  context.fillRect(view.width, 0, SHEET, sheetHeight()); // over lines that leave the map
  context.fillRect(0, view.height, view.width, sheetHeight());
  context.save();
  context.translate(view.width + 8, 4);
  drawHeights(context, SHEET - 12, HEIGHTS, shown(), { ...state, floor: floorNow() });
  context.translate(46, HEIGHTS + 8);
  drawLegend(context, shown(), SHEET - 60);
  context.restore();
}

function savePng() {
  const canvas = document.createElement("canvas"), context = sized(canvas, view.width + SHEET, sheetHeight());
  drawSheet(context);
  canvas.toBlob((blob) => save("png", blob));
}

function svgText() {
  const context = new KEPT.SvgContext(view.width + SHEET, sheetHeight());
  drawSheet(context);
  return context.getSerializedSvg();
}

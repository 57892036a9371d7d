"use strict";
// Copy the code, choose what a picture shows, show a tooltip for the point under the pointer.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

for (const button of all("[data-copy]")) {
  button.onclick = async () => {
    const text = button.parentElement.querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
  };
}

const pressed = (button) => button.getAttribute("aria-pressed") === "true";

// A picture with choices: its variants (axis and measure), a toggle for each optimizer, and one for all seeds.
for (const box of all("[data-choices]")) {
  const draw = () => {
    const wanted = all("[data-variant-of]", box).filter(pressed).map((b) => b.dataset.value).join(" ");
    for (const variant of all("[data-variant]", box)) variant.hidden = variant.dataset.variant !== wanted;
    const off = new Set(all("[data-label]", box).filter((b) => !pressed(b)).map((b) => b.dataset.label));
    const seeds = all("[data-seeds]", box).some(pressed);
    for (const group of all("g[data-series]", box)) {
      const hidden = off.has(group.dataset.series) || (group.classList.contains("thin") && !seeds);
      group.style.display = hidden ? "none" : "";
    }
  };
  for (const button of all("button", box)) {
    button.onclick = () => {
      const { variantOf } = button.dataset;
      if (variantOf) {
        for (const other of all(`[data-variant-of="${variantOf}"]`, box)) other.setAttribute("aria-pressed", other === button);
      } else {
        button.setAttribute("aria-pressed", !pressed(button));
      }
      draw();
    };
  }
  draw();
}

const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
tip.setAttribute("role", "status");
document.body.append(tip);
document.addEventListener("pointerover", (event) => {
  const point = event.target.closest?.("[data-words]");
  tip.hidden = !point;
  if (!point) return;
  tip.textContent = point.dataset.words;
  const left = Math.min(event.pageX + 12, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${event.pageY + 14}px`;
});

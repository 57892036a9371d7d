// What the page takes from well-kept libraries; `npm install && npm run build` makes kept.js and LICENSES.txt of it.
export { contours } from "d3-contour";
export { scaleLinear, scaleLog } from "d3-scale";
export { Context as SvgContext } from "svgcanvas";
export { default as MersenneTwister } from "mersenne-twister";
import { create, parseDependencies, derivativeDependencies } from "mathjs/number";
export const math = create({ parseDependencies, derivativeDependencies });

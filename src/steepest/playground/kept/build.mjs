// Bundles entry.js into kept.js, and writes the licences of all that went in, its own dependencies too.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const made = await build({
  entryPoints: ["entry.js"],
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "KEPT",
  legalComments: "none", // they are in LICENSES.txt, which the page carries too
  outfile: "kept.js",
  metafile: true,
});
const folders = new Set(
  Object.keys(made.metafile.inputs).map((file) => file.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean),
);
const texts = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((found) => /^licen[cs]e/i.test(found));
  return `${name} ${version} (${license})\n\n${file ? readFileSync(`${folder}/${file}`, "utf8").trim() : license}\n`;
});
writeFileSync("LICENSES.txt", texts.join(`\n${"-".repeat(80)}\n\n`));

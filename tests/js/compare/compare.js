// Prints how the package and Google's own library compare on this machine, as js/README.md shows it. Rounds take
// turns, and medians are printed: times scatter.

import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Emulator } from "../support/emulator.js";

const ROUNDS = 7;
const here = fileURLToPath(new URL(".", import.meta.url));
const installed = join(here, "..", "node_modules");
const libraries = ["invoker", "google-auth-library"];

function measure(library, what, emulator) {
  const env = { ...process.env, ...emulator.environment, METADATA_SERVER_DETECTION: "assume-present" };
  return Number(execFileSync(process.execPath, [join(here, "measure.js"), library, what], { env, encoding: "utf8" }));
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** All that npm installs with it, in bytes. */
function size(name, seen = new Set()) {
  if (seen.has(name)) return 0;
  seen.add(name);
  const folder = join(installed, name);
  const files = readdirSync(folder, { recursive: true }).map((file) => statSync(join(folder, file)));
  const own = files.filter((file) => file.isFile()).reduce((sum, file) => sum + file.size, 0);
  const { dependencies = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return Object.keys(dependencies).reduce((sum, dependency) => sum + size(dependency, seen), own);
}

async function figures(what) {
  const found = Object.fromEntries(libraries.map((library) => [library, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const library of libraries) {
      const ends = [];
      const emulator = await Emulator.start({ after: (end) => ends.push(end) });
      found[library].push(measure(library, what, emulator));
      ends.forEach((end) => end());
    }
  }
  return libraries.map((library) => median(found[library]));
}

const [cached, cold, calls] = [await figures("cached"), await figures("cold"), await figures("stampede")];
const sizes = libraries.map((library) => size(library));
const row = (name, [ours, theirs], format) => `| ${name} | ${format(ours)} | ${format(theirs)} |`;
console.log(`| Node.js ${process.versions.node}, medians of ${ROUNDS} rounds | \`invoker\` | \`google-auth-library\` |`);
console.log("|---|---|---|");
console.log(row("tokens per second from the cache", cached, (value) => Math.round(value / 1000) + ",000"));
console.log(row("calls to the metadata server for 100 concurrent requests", calls, String));
console.log(row("from the start of the process to the first token", cold, (value) => `${Math.round(value)} ms`));
console.log(row("installed, with dependencies", sizes, (value) => `${(value / 1e6).toFixed(1)} MB`));

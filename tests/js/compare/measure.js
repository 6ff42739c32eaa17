// One figure of one library, in a process of its own: measure.js LIBRARY cold|cached|stampede. Prints a number.

const [library, what] = process.argv.slice(2);
const AUDIENCE = "https://profiles.example.com";
const ASKED = 100_000;

const { makeAsk } = await import(`./${library}.js`);
const ask = makeAsk(AUDIENCE);

if (what === "cold") {
  await ask();
  // Since the process began.
  console.log(performance.now());
} else if (what === "cached") {
  await ask();
  const started = performance.now();
  for (let at = 0; at < ASKED; at++) await ask();
  console.log(ASKED / ((performance.now() - started) / 1000));
} else {
  await Promise.all(Array.from({ length: 100 }, ask));
  const calls = await (await fetch(`http://${process.env.GCE_METADATA_HOST}/_emulator/requests`)).json();
  console.log(calls.filter(({ audience }) => audience === AUDIENCE).length);
}
process.exit();

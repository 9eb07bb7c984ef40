// Opens a page in a Chromium that listens on a port, runs axe-core in it, and prints what it finds as JSON.
//     node axe.mjs PORT URL FOLDER_WITH_NODE_MODULES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [port, url, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const WebSocket = require("ws");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");

const opened = await fetch(`http://127.0.0.1:${port}/json/new?${url}`, { method: "PUT" });
const socket = new WebSocket((await opened.json()).webSocketDebuggerUrl);
await new Promise((ready) => socket.on("open", ready));

let last = 0;
function call(method, params) {
  const id = ++last;
  return new Promise((done, failed) => {
    socket.on("message", function answered(data) {
      const message = JSON.parse(data);
      if (message.id !== id) return;
      socket.off("message", answered);
      message.error ? failed(new Error(message.error.message)) : done(message.result);
    });
    socket.send(JSON.stringify({ id, method, params }));
  });
}

async function evaluate(expression) {
  const answer = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (answer.exceptionDetails) throw new Error(JSON.stringify(answer.exceptionDetails));
  return answer.result.value;
}

while ((await evaluate("document.readyState + location.href")) !== `complete${url}`) {
  await new Promise((later) => setTimeout(later, 100));
}
await evaluate(axe);
const found = await evaluate(
  "axe.run().then(found => found.violations.map(one => " +
    "({id: one.id, impact: one.impact, help: one.help, nodes: one.nodes.map(node => node.html.slice(0, 200))})))",
);
console.log(JSON.stringify(found));
process.exit(0);

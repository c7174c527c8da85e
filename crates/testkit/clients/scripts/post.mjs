// Posts files over TLS. usage: post.mjs MODE URL CA_PEM BODY_FILE...
// MODE: https (one connection, one after the other), parallel (https, all at once), fetch.
// The authority is taken from NODE_EXTRA_CA_CERTS, as `fetch` knows no other way.

import fs from "node:fs";
import https from "node:https";

const [mode, url, , ...files] = process.argv.slice(2);
const headers = { "content-type": "application/json", "x-api-key": "none" };
const agent = new https.Agent({ keepAlive: true, maxSockets: mode === "https" ? 1 : 8 });

function post(file) {
  const body = fs.readFileSync(file);
  return new Promise((resolve, reject) => {
    const options = { method: "POST", agent, headers: { ...headers, "content-length": body.length } };
    const request = https.request(`${url}/v1/messages`, options, (answer) => {
      answer.on("error", reject).on("end", () => resolve(answer.statusCode)).resume();
    });
    request.on("error", reject).end(body);
  });
}

async function postByFetch(file) {
  const answer = await fetch(`${url}/v1/messages`, { method: "POST", headers, body: fs.readFileSync(file) });
  await answer.arrayBuffer();
  return answer.status;
}

const statuses = [];
if (mode === "parallel") {
  statuses.push(...(await Promise.all(files.map(post))));
} else {
  for (const file of files) statuses.push(await (mode === "fetch" ? postByFetch : post)(file));
}
agent.destroy();
if (statuses.some((status) => status !== 200)) {
  console.error(statuses);
  process.exit(1);
}
process.exit(0);

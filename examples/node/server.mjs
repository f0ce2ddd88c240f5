// An application that knows nothing of Windlass: POST {"input": "..."} -> {"output": {"text": "..."}}.
// Start it with:  node server.mjs 3000
import { createServer } from "node:http";

const CAPITALS = { france: "Paris", japan: "Tokyo", kenya: "Nairobi", peru: "Lima" };
const slip = Number(process.env.SLIP ?? 0); // of every ten answers are wrong, to see a gate block

createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    const { input } = JSON.parse(body);
    const country = Object.keys(CAPITALS).find((name) => input.toLowerCase().includes(name));
    const number = Number(input.match(/\d+/)?.[0] ?? 0);
    const text = country && number % 10 >= slip ? CAPITALS[country] : "I do not know.";
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ output: { text } }));
  });
}).listen(Number(process.argv[2] ?? 3000), "127.0.0.1", function () {
  console.log(`listening on ${this.address().port}`);
});

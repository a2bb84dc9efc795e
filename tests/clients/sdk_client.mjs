// A client on the official TypeScript SDK, which checks whatever it receives.
//
//   node sdk_client.mjs NODE_MODULES WORKSPACE COMMAND…
//
// It lives two lives of the agent and writes one line of JSON: what it did, and every message that is not valid by
// the SDK's own schemas.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { Readable, Transform, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [modules, workspace, ...command] = process.argv.slice(2);
const sdk = join(modules, "@agentclientprotocol", "sdk", "dist", "v1");
const acp = await import(pathToFileURL(join(sdk, "stable", "acp.js")));
const zod = await import(pathToFileURL(join(sdk, "schema", "zod.gen.js")));

const RESULTS = {
  initialize: zod.zInitializeResponse,
  "session/new": zod.zNewSessionResponse,
  "session/load": zod.zLoadSessionResponse,
  "session/resume": zod.zResumeSessionResponse,
  "session/list": zod.zListSessionsResponse,
  "session/set_mode": zod.zSetSessionModeResponse,
  "session/set_config_option": zod.zSetSessionConfigOptionResponse,
  "session/prompt": zod.zPromptResponse,
  "session/close": zod.zCloseSessionResponse,
};
const CALLS = {
  "session/update": zod.zSessionNotification,
  "session/request_permission": zod.zRequestPermissionRequest,
};

const said = { faults: [], checked: 0, kinds: [], questions: 0, steps: {} };

function check(schema, value, what) {
  said.checked += 1;
  const checked = schema.safeParse(value);
  if (!checked.success) said.faults.push(`${what}: ${checked.error}: ${JSON.stringify(value).slice(0, 500)}`);
}

/** Passes lines on, and shows each message to `look`. */
function tap(look) {
  let pending = "";
  return new Transform({
    transform(chunk, _, done) {
      const lines = (pending + chunk.toString("utf8")).split("\n");
      pending = lines.pop();
      for (const line of lines) if (line.trim()) look(JSON.parse(line));
      done(null, chunk);
    },
  });
}

async function life(live) {
  const agent = spawn(command[0], command.slice(1), { cwd: workspace, stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => agent.on("exit", (code) => resolve(code)));
  const asked = new Map();
  const outgoing = tap((message) => message.method && message.id !== undefined && asked.set(message.id, message.method));
  const incoming = tap((message) => {
    if (message.method) {
      if (CALLS[message.method]) check(CALLS[message.method], message.params, message.method);
      else said.faults.push(`${message.method} was not expected`);
    } else if (message.result !== undefined) {
      check(RESULTS[asked.get(message.id)], message.result, asked.get(message.id));
    } else {
      said.faults.push(`${asked.get(message.id)} was refused: ${JSON.stringify(message.error)}`);
    }
  });
  outgoing.pipe(agent.stdin);
  agent.stdout.pipe(incoming);
  const updates = [];
  let seen = () => {};
  const client = acp
    .client({ name: "sdk-client" })
    .onRequest("session/request_permission", ({ params }) => {
      said.questions += 1;
      const option = params.options.find((each) => each.kind === "allow_once");
      return { outcome: { outcome: "selected", optionId: option.optionId } };
    })
    .onNotification("session/update", ({ params }) => {
      updates.push(params.update);
      said.kinds.push(params.update.sessionUpdate);
      seen();
    });
  const until = (holds) =>
    new Promise((resolve) => {
      seen = () => holds() && resolve();
      seen();
    });
  const stream = acp.ndJsonStream(Writable.toWeb(outgoing), Readable.toWeb(incoming));
  await client.connectWith(stream, async (ctx) => {
    const introduced = await ctx.request("initialize", {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientCapabilities: { session: { notices: {} } },
      clientInfo: { name: "sdk-client", version: "1" },
    });
    await live(ctx, introduced, updates, until);
  });
  agent.stdin.end();
  return ended;
}

const setup = { cwd: workspace, mcpServers: [] };
const text = (words) => [{ type: "text", text: words }];
const replied = (updates) =>
  updates.map((update) => (update.sessionUpdate === "agent_message_chunk" ? update.content.text : "")).join("");
let sessionId;

said.steps.first = await life(async (ctx, introduced, updates, until) => {
  const opened = await ctx.request("session/new", setup);
  sessionId = opened.sessionId;
  said.modes = opened.modes.availableModes.map((mode) => mode.id);
  const prompt = (words) => ctx.request("session/prompt", { sessionId, prompt: text(words) });
  said.steps.prompt = (await prompt("first words")).stopReason;
  said.steps.tools = (await prompt("!write_to_file sdk.txt text\n!run_command echo steam")).stopReason;
  for (const modeId of [...said.modes, opened.modes.currentModeId]) {
    await ctx.request("session/set_mode", { sessionId, modeId });
  }
  for (const option of opened.configOptions) {
    const value = option.currentValue;
    await ctx.request("session/set_config_option", { sessionId, configId: option.id, value });
  }
  const before = updates.length;
  const cut = prompt("!stream 2000 20");
  await until(() => updates.slice(before).some((update) => update.sessionUpdate === "agent_message_chunk"));
  await ctx.notify("session/cancel", { sessionId });
  said.steps.cancelled = (await cut).stopReason;
  said.steps.listed = (await ctx.request("session/list", {})).sessions.map((session) => session.sessionId);
});

said.steps.second = await life(async (ctx, introduced, updates) => {
  const prompt = (words) => ctx.request("session/prompt", { sessionId, prompt: text(words) });
  await ctx.request("session/load", { sessionId, ...setup });
  said.replayed = updates.map((update) => update.sessionUpdate);
  await ctx.request("session/close", { sessionId });
  const before = updates.length;
  await ctx.request("session/resume", { sessionId, cwd: workspace });
  said.resumed = updates.slice(before).map((update) => update.sessionUpdate);
  await prompt("and now?");
  said.reply = replied(updates.slice(before));
  await ctx.request("session/close", { sessionId });
});
said.sessionId = sessionId;

process.stdout.write(`${JSON.stringify(said)}\n`);

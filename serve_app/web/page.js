import { chosenParameters, showParameters } from "./parameters.js";
import { StreamPlayer } from "./player.js";
import { showStatus } from "./status.js";
import { drawWaveform } from "./waveform.js";

const KEY = "voicegraph-api-key"; // in the storage of this tab
const at = (id) => document.getElementById(id);
let models = [];
let voices = [];
let current = null; // { player, abort }

function showError(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

// Of a server that asks for keys; the field appears when it does.
function keyHeader() {
  const key = at("key").value.trim();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function askForKey() {
  at("key-row").hidden = false;
}

async function getJson(path) {
  const response = await fetch(path, { headers: keyHeader() });
  if (response.status === 401) {
    askForKey();
    throw new Error(await errorOf(response));
  }
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response.json();
}

function nameOfLanguage(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;
  } catch { // it is no code of a language
    return code;
  }
}

function chosenModel() {
  return models.find((model) => model.id === at("model").value);
}

function showSettings() {
  showParameters(at("parameters"), chosenModel());
  at("settings").hidden = !at("parameters").children.length;
}

// What the chosen model can do, and what it wants to know of a recording.
function showAbilities() {
  const model = chosenModel();
  const able = model ? [
    `speaks ${model.languages.map(nameOfLanguage).join(", ")}`,
    model.cloning && "clones voices",
    model.emotion && "has emotion control",
    model.instructions && "follows instructions",
    `${model.sample_rate / 1000} kHz`,
  ].filter(Boolean) : [];
  at("abilities").textContent = model ? `${model.description}; ${able.join("; ")}` : "";
  at("transcript").hidden = !at("recording").files.length;
  at("transcript-hint").textContent = model?.cloning_needs_transcript
    ? "This model has to know it." : "Models that go on from a recording sound better when they know it.";
}

function fillVoices() {
  const model = at("model").value;
  const kept = at("voice").value;
  const shown = voices.filter((voice) => model === "auto" || voice.models.includes(model));
  at("voice").replaceChildren(new Option("default of the model", ""));
  for (const language of [...new Set(shown.map((voice) => voice.language))].sort()) {
    const group = document.createElement("optgroup");
    group.label = nameOfLanguage(language);
    for (const voice of shown.filter((each) => each.language === language)) {
      group.append(new Option(`${voice.name} (${voice.id})`, voice.id));
    }
    at("voice").append(group);
  }
  at("voice").value = shown.some((voice) => voice.id === kept) ? kept : "";
}

async function fillChoices() {
  models = (await getJson("v1/audio/models")).models;
  voices = (await getJson("v1/audio/voices")).voices;
  at("model").replaceChildren(new Option("auto (the router decides)", "auto"));
  for (const model of models) at("model").append(new Option(model.id, model.id));
  fillVoices();
  showSettings();
  showAbilities();
}

async function errorOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answered with status ${response.status}`;
  }
}

// The recording to speak like as a data URL, or null.
async function chosenRecording() {
  const [file] = at("recording").files;
  if (!file) return null;
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read: ${reader.error.message}`));
    reader.readAsDataURL(file);
  });
}

async function speak() {
  await stop();
  showError("");
  const format = at("format").value;
  const body = {
    ...chosenParameters(at("parameters")),
    model: at("model").value, input: at("text").value, response_format: format, speed: Number(at("speed").value),
  };
  const abort = new AbortController();
  const run = { abort, player: null };
  current = run;
  at("speak").disabled = true;
  at("stop").disabled = false;
  at("download").hidden = true;
  for (const id of ["first-audio", "duration", "rtf", "answered"]) at(id).textContent = "–";
  at("status").textContent = "waiting for the first sound";
  const clicked = performance.now();
  try {
    const recording = await chosenRecording();
    if (recording) {
      body.ref_audio = recording;
      if (at("ref-text").value.trim()) body.ref_text = at("ref-text").value;
    } else if (at("voice").value) body.voice = at("voice").value;
    const response = await fetch("v1/audio/speech", {
      method: "POST",
      signal: abort.signal,
      headers: { "Content-Type": "application/json", ...keyHeader() },
      body: JSON.stringify(body),
    });
    if (response.status === 401) askForKey();
    if (!response.ok) throw new Error(await errorOf(response));
    run.player = new StreamPlayer(format, Number(response.headers.get("x-sample-rate")));
    at("answered").textContent = `${response.headers.get("x-model")} / ${response.headers.get("x-voice")}`;
    await receive(response, run, clicked);
    offerDownload(run.player, format, response.headers.get("content-type"));
  } catch (error) {
    if (error.name !== "AbortError") {
      showError(error.message);
      at("status").textContent = "failed";
    }
  } finally {
    at("speak").disabled = false;
  }
}

async function receive(response, run, clicked) {
  const reader = response.body.getReader();
  let first = true;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (first) {
      at("first-audio").textContent = `${Math.round(performance.now() - clicked)} ms`;
      at("status").textContent = "speaking, more is being made";
      first = false;
      animate(run);
    }
    run.player.push(value);
  }
  const seconds = (performance.now() - clicked) / 1000;
  await run.player.finish();
  at("rtf").textContent = (seconds / run.player.durationS).toFixed(2);
  at("status").textContent = "complete";
}

function animate(run) {
  if (current !== run) return;
  const { player } = run;
  at("duration").textContent = `${player.playedS.toFixed(1)} / ${player.durationS.toFixed(1)} s`;
  const share = player.durationS ? player.playedS / player.durationS : 0;
  at("progress").value = share;
  drawWaveform(at("wave"), player.samples, share);
  if (player.finished && share >= 1) at("stop").disabled = true;
  else requestAnimationFrame(() => animate(run));
}

function offerDownload(player, format, mediaType) {
  const link = at("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([player.bytes()], { type: mediaType }));
  link.download = `speech.${format}`;
  link.hidden = false;
}

async function stop() {
  const run = current;
  current = null;
  at("stop").disabled = true;
  if (!run) return;
  run.abort.abort();
  if (run.player) await run.player.stop();
  at("status").textContent = "stopped";
}

function countCharacters() {
  const { length } = at("text").value;
  at("count").textContent = `${length} of ${at("text").maxLength} characters`;
}

at("form").addEventListener("submit", (event) => { event.preventDefault(); speak(); });
at("stop").addEventListener("click", stop);
at("model").addEventListener("change", () => { fillVoices(); showSettings(); showAbilities(); });
// A field that is not shown cannot be complained about. (The event does not bubble.)
at("settings").addEventListener("invalid", () => { at("settings").open = true; }, true);
at("recording").addEventListener("change", () => {
  at("voice").disabled = at("recording").files.length > 0;
  showAbilities();
});
at("text").addEventListener("input", countCharacters);
at("speed").addEventListener("input", () => { at("speed-value").textContent = Number(at("speed").value).toFixed(1); });
at("key").addEventListener("change", () => {
  sessionStorage.setItem(KEY, at("key").value.trim());
  start();
});

function start() {
  showError("");
  fillChoices().catch((error) => {
    showError(at("key-row").hidden ? `The server does not answer: ${error.message}` : error.message);
  });
}

showStatus(at("live"), at("live-models"), getJson);
countCharacters();
at("key").value = sessionStorage.getItem(KEY) ?? "";
if (at("key").value) askForKey();
start();

// For tests: how much sound there is and how loud.
window.voicegraph = {
  get samples() { return current?.player?.samples.length ?? 0; },
  get peak() { return (current?.player?.samples ?? []).reduce((peak, value) => Math.max(peak, Math.abs(value)), 0); },
  get playedS() { return current?.player?.playedS ?? 0; },
};

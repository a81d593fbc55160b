// The page: five steps with a common state. Files and jobs are stored by the service, so a reload loses nothing.

import { ask, follow, upload } from "./api.js";
import { compareImages, compareVideos } from "./player.js";
import { record } from "./recorder.js";
import { moment, seconds, size } from "./words.js";

const $ = (selector, root = document) => root.querySelector(selector);
const state = { me: null, video: null, voices: [], people: null, cast: new Map(), dub: null, busy: new Set() };
const STAGES = {
  "": "starting", analyse: "looking for faces", look: "checking the faces again", pictures: "taking pictures of everybody",
  draw: "drawing", verify: "checking the result", separate: "separating speech from other sound",
  fetch: "copying the files to the worker", send: "copying the result from the worker",
};
const ENDED = ["done", "failed", "cancelled"];

// ------------------------------------------------------------------------------------------------------------- helpers

function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) name in element ? (element[name] = value) : element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Announces a line to screen readers.
const say = (line) => { $("#say").textContent = line; };

function problem(section, error) {
  const box = $(":scope > .problem", section);
  box.hidden = !error;
  box.textContent = error ? error.message : "";
  if (error && error.status === 401) start().catch(() => {});
}

// An event handler that runs `what`, not twice at a time for one `key`, and shows its error in the section.
function act(section, key, what) {
  return async (event) => {
    event?.preventDefault?.();
    if (state.busy.has(key)) return;
    state.busy.add(key);
    problem(section, null);
    refresh();
    try { await what(event); } catch (error) { if (error.code !== "stopped") problem(section, error); }
    state.busy.delete(key);
    refresh();
  };
}

async function send(section, file, kind, name) {
  const box = $(":scope > .upload", section), bar = $("progress", box), words = $("span", box);
  const { sent, stop } = upload(file, kind, name, (share) => {
    bar.value = share;
    words.textContent = share < 1 ? `${Math.round(100 * share)} % of ${size(file.size)}` : "checking the file";
  });
  $("button", box).onclick = stop;
  box.hidden = false;
  try { return await sent; } finally { box.hidden = true; }
}

// Shows the progress of a job in a box; resolves to the ended job.
async function watch(box, job) {
  const bar = $("progress", box), words = $("span", box), stop = $("button", box), seen = new Map();
  if (stop) stop.onclick = () => ask("POST", `jobs/${job.id}/cancel`).catch(() => {});
  box.hidden = false;
  try {
    return await follow(job.id, (now) => {
      if (now.state === "waiting") {
        bar.removeAttribute("value");
        words.textContent = now.ahead ? `waiting; ${now.ahead} ${now.ahead === 1 ? "job" : "jobs"} ahead` : "waiting for a worker";
        return;
      }
      bar.value = now.share;
      if (!seen.has(now.stage)) {
        seen.set(now.stage, { at: Date.now(), share: now.share });
        say(STAGES[now.stage] ?? now.stage); // once per stage, not at every percent
      }
      const first = seen.get(now.stage), done = now.share - first.share, took = (Date.now() - first.at) / 1000;
      const left = done > 0.05 && took > 2 ? `, about ${seconds(Math.round((1 - now.share) * took / done))} left` : "";
      words.textContent = `${STAGES[now.stage] ?? now.stage}: ${Math.round(100 * now.share)} %${left}`;
    });
  } finally { box.hidden = true; }
}

function failed(job) {
  if (job.state === "failed") throw new Error(job.error[0].toUpperCase() + job.error.slice(1) + ".");
  if (job.state === "cancelled") throw Object.assign(new Error("Stopped."), { code: "stopped" });
  return job;
}

// --------------------------------------------------------------------------------------------------------------- video

const videoStep = $("#step-video"), voiceStep = $("#step-voice"), peopleStep = $("#step-people");
const previewStep = $("#step-preview"), dubStep = $("#step-dub");

async function takeVideo(file) {
  state.video = file;
  state.people = null;
  state.cast.clear();
  const [shown, hidden] = file.still ? [$("#photo"), $("#video")] : [$("#video"), $("#photo")];
  shown.src = file.url;
  hidden.removeAttribute("src");
  if (file.still) $("#video").load(); // else an earlier one would play on
  [shown.hidden, hidden.hidden] = [false, true];
  const length = file.still ? "photo" : seconds(file.seconds), rate = file.still ? "" : `${file.rate.toFixed(file.rate % 1 ? 2 : 0)} frames per second, `;
  $("#video-name").textContent = file.name;
  $("#video-facts").textContent = `${length}, ${file.width} × ${file.height}, ${rate}${size(file.bytes)}`;
  fitMoment();
  $("#moment").value = ($("#moment").max / 3).toFixed(1);
  $("#preview-result").replaceChildren();
  $("#dub-result").replaceChildren();
  showBackgrounds();
  showMoment();
  refresh();
  findPeople();
}

function dropVideo() {
  state.video = state.people = null;
  state.cast.clear();
  $("#people").replaceChildren();
  $("#preview-result").replaceChildren();
  $("#dub-result").replaceChildren();
  problem(peopleStep, null);
  refresh();
  $("#video-file").focus();
}

const sendVideo = (file) => act(videoStep, "video", async () => takeVideo(await send(videoStep, file, "video", file.name)))();
$("#video-file").addEventListener("change", (event) => { if (event.target.files[0]) sendVideo(event.target.files[0]); event.target.value = ""; });
$("#video-demo").addEventListener("click", act(videoStep, "video", async () => takeVideo(await ask("POST", "demo?kind=video"))));
$("#video-change").addEventListener("click", dropVideo);
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault()); // else the browser opens the file
for (const name of ["dragover", "dragleave", "drop"]) {
  $(".drop").addEventListener(name, (event) => {
    event.preventDefault();
    $(".drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) sendVideo(event.dataTransfer.files[0]);
  });
}

// -------------------------------------------------------------------------------------------------------------- voices

function addVoice(file) {
  state.voices.push(file);
  say(`${file.name} was added to the voices.`);
  if (state.people && ![...state.cast.values()].some(Boolean)) giveFirst();
  showVoices();
  showPeople();
}

function showVoices() {
  $("#voices").replaceChildren(...state.voices.map((voice) => make("li", {},
    make("span", { className: "what" }, voice.name, make("span", { className: "hint", textContent: ` ${seconds(voice.seconds)}` })),
    make("audio", { src: voice.url, controls: true, preload: "none", ariaLabel: `hear ${voice.name}` }),
    make("button", { className: "quiet", textContent: "Remove", ariaLabel: `Remove ${voice.name}`, onclick: act(voiceStep, voice.id, async () => {
      await ask("DELETE", `files/${voice.id}`).catch((error) => { if (error.status !== 404) throw error; }); // else it is gone already
      state.voices = state.voices.filter((one) => one !== voice);
      for (const [person, id] of state.cast) if (id === voice.id) state.cast.set(person, "");
      showVoices();
      showPeople();
    }) }),
  )));
  showBackgrounds();
  refresh();
}

function showBackgrounds() {
  const chosen = $("#background").value;
  const own = make("option", { value: "original", textContent: "the video's own, without its speech", disabled: !state.video?.sound });
  $("#background").replaceChildren(make("option", { value: "", textContent: "none" }), ...(state.me.separates ? [own] : []), ...state.voices.map((voice) => make("option", { value: voice.id, textContent: voice.name })));
  $("#background").value = [...$("#background").options].some((one) => one.value === chosen && !one.disabled) ? chosen : "";
}

$("#voice-file").addEventListener("change", act(voiceStep, "voice", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  const failures = [];
  for (const file of files) {
    try { addVoice(await send(voiceStep, file, "voice", file.name)); } catch (error) { failures.push(error); }
    if (failures.at(-1)?.code === "stopped") break;
  }
  if (failures.length) throw failures[0]; // once the others have arrived
}));
$("#voice-demo").addEventListener("click", act(voiceStep, "voice", async () => addVoice(await ask("POST", "demo?kind=voice"))));
$("#record").addEventListener("click", act(voiceStep, "record", async () => {
  const stop = await record(state.me.limits.seconds - 1, (level) => { $("#record-level").value = level; }, (s) => { $("#record-time").textContent = `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`; });
  $("#recorder").hidden = false;
  $("#record-stop").focus();
  const keep = await new Promise((resolve) => {
    $("#record-stop").onclick = () => resolve(true);
    $("#record-drop").onclick = () => resolve(false);
  });
  const sound = await stop();
  $("#recorder").hidden = true;
  $("#record").focus();
  const number = state.voices.filter((voice) => voice.name.startsWith("Recording")).length + 1;
  if (keep) addVoice(await send(voiceStep, sound, "voice", `Recording ${number}`));
}));

// -------------------------------------------------------------------------------------------------------------- people

const findPeople = () => {
  const video = state.video;
  return act(peopleStep, `look ${video.id}`, async () => {
    $("#people").replaceChildren();
    const known = (await ask("GET", "jobs")).find((job) => job.kind === "look" && job.spec.video === video.id && !["failed", "cancelled"].includes(job.state));
    const job = failed(await watch($("#people-working"), known ?? await ask("POST", "jobs", { kind: "look", video: video.id })));
    if (state.video !== video) return;
    state.people = job.result.people.map((person) => ({ ...person, url: job.urls[person.picture] }));
    say(`${state.people.length === 1 ? "One person was" : `${state.people.length} people were`} found.`);
    giveFirst();
    showPeople();
  })();
};

function giveFirst() {
  const first = state.people.find((person) => person.redrawable);
  if (first && state.voices.length) state.cast.set(first.number, state.voices[0].id);
}

function showPeople() {
  $("#people").replaceChildren(...(state.people ?? []).map((person) => {
    const given = state.cast.get(person.number) ?? "", can = person.redrawable > 0, id = `person-${person.number}`;
    const choice = make("select", { id, disabled: !can || !state.voices.length, onchange: (event) => {
      state.cast.set(person.number, event.target.value);
      $(`#${id}`).closest("li").classList.toggle("speaks", Boolean(event.target.value));
      refresh();
    } }, make("option", { value: "", textContent: can ? "stays as filmed" : "cannot be redrawn" }), ...state.voices.map((voice) => make("option", { value: voice.id, textContent: voice.name })));
    choice.value = given;
    const some = Math.round(100 * person.redrawable / person.frames), share = can && person.redrawable < person.frames ? Math.min(Math.max(some, 1), 99) : some, why = Object.keys(person.reasons)[0];
    return make("li", { className: given ? "speaks" : "" },
      make("img", { src: person.url, alt: `person ${person.number}`, width: 83, height: 83 }),
      make("div", { className: "who" }, make("strong", { textContent: `Person ${person.number}` }), `${person.place.split(",")[0]}${state.video.still ? "" : `, first seen at ${person.seen[0][0].toFixed(1)} s`}`,
        make("br"), share === 100 ? `can be redrawn${state.video.still ? "" : " in all frames"}` : `${share} % can be redrawn${why ? `; not: ${why}` : ""}`),
      make("label", { htmlFor: id, textContent: "speaks with" }), choice);
  }));
  refresh();
}

// ------------------------------------------------------------------------------------------------- preview and the dub

// How long the dub lasts, at least: as the video, or if that is a photo, as the longest of its voices.
function fitMoment() {
  const cast = [...state.cast.values()], given = state.voices.filter((voice) => cast.includes(voice.id));
  const length = state.video?.still ? Math.max(0, ...given.map((voice) => voice.seconds)) : state.video?.seconds ?? 0;
  $("#moment").max = Math.max(0, length - 0.1).toFixed(1);
  showMoment();
}

const showMoment = () => { $("#moment-at").textContent = `${Number($("#moment").value).toFixed(1)} s`; };
$("#moment").addEventListener("input", () => {
  showMoment();
  if (!state.video.still) $("#video").currentTime = $("#moment").value;
});
$("#consent").addEventListener("change", () => refresh());
$("#emphasis").addEventListener("input", () => { $("#emphasis-is").textContent = Number($("#emphasis").value).toFixed(1); });

function order(kind, more) {
  const cast = [...state.cast].filter(([, voice]) => voice).map(([person, voice]) => ({ person, voice }));
  return {
    kind, video: state.video.id, cast, consent: $("#consent").checked, background: $("#background").value || null,
    match_loudness: $("#match").checked, silence: $("#silence").value, emphasis: Number($("#emphasis").value), ...more,
  };
}

const noteList = (notes) => make("ul", { className: "notes" }, ...notes.map((note) => make("li", { textContent: note })));

const startPreview = (kind) => act(previewStep, "preview", async () => {
  $("#preview-result").replaceChildren();
  const job = failed(await watch($("#preview-working"), await ask("POST", "jobs", order(kind, { at: Number($("#moment").value) }))));
  const { "before.jpg": image, "before.mp4": video } = job.urls;
  const shown = image ? compareImages(image, job.urls["after.jpg"]) : compareVideos(video, job.urls["after.mp4"], false);
  const notes = [`${job.result.dubbed} of ${job.result.frames} frames are redrawn, as in the full dub${state.video.still ? "" : " if it is not adapted to the faces first"}.`, ...job.notes];
  $("#preview-result").replaceChildren(shown, noteList(notes));
  say("The preview is ready.");
});
$("#show-frame").addEventListener("click", startPreview("frame"));
$("#show-preview").addEventListener("click", startPreview("preview"));

$("#dub").addEventListener("click", act(dubStep, "dub", async () => {
  $("#dub-result").replaceChildren();
  const more = state.video.still ? {} : { length: $("#length").value, on_damage: $("#damage").checked ? "pass" : "stop", adapt: Number($("#adapt").value) || null };
  await followDub(await ask("POST", "jobs", order("dub", more)));
}));

async function followDub(job) {
  state.dub = job.id;
  const ended = watch($("#dub-working"), job);
  listJobs();
  const result = await ended.finally(() => { state.dub = null; listJobs(); });
  await showResult(failed(result));
  say("The dub is done.");
}

async function showResult(job) {
  const names = await ask("GET", "files"), video = names.find((file) => file.id === job.spec.video);
  const title = (video?.name ?? "video").replace(/\.[^.]*$/, ""), result = job.result;
  const left = result.frames - result.dubbed;
  const box = make("div", { className: "result" }, make("h3", { textContent: `${title}, dubbed` }));
  box.append(video ? compareVideos(video.url, job.urls["dubbed.mp4"], video.still) : make("video", { src: job.urls["dubbed.mp4"], controls: true, playsInline: true }));
  const report = job.urls["report.html"];  // missing if it could not be made; a note says why
  box.append(make("div", { className: "row" },
    make("a", { className: "button primary", id: "download", href: `${job.urls["dubbed.mp4"]}?download=${encodeURIComponent(`${title}-dubbed.mp4`)}`, textContent: "Download the video" }),
    ...(report ? [make("a", { className: "button", href: report, target: "_blank", rel: "noopener", textContent: "Report" }),
      make("a", { className: "button", id: "download-report", href: `${report}?download=${encodeURIComponent(`${title}-report.html`)}`, textContent: "Download the report" })] : [])));
  const notes = [`${result.dubbed} of ${result.frames} frames are redrawn${left ? `, ${left} ${left === 1 ? "is" : "are"} left as filmed${report ? "; the report says why" : ""}` : ""}.`, ...job.notes];
  box.append(noteList(notes));
  $("#dub-result").replaceChildren(box);
  refresh();
}

const listJobs = () => showJobs().catch((error) => problem(dubStep, error));

async function showJobs() {
  const [jobs, files] = await Promise.all([ask("GET", "jobs"), ask("GET", "files")]);
  const dubs = jobs.filter((job) => job.kind === "dub");
  const name = (id) => files.find((file) => file.id === id)?.name ?? "a deleted file";
  $("#history").hidden = !dubs.length;
  $("#jobs").replaceChildren(...dubs.map((job) => {
    const status = { waiting: "waiting", running: `running, ${Math.round(100 * job.share)} %`, done: "done", failed: `failed: ${job.error}`, cancelled: "cancelled" }[job.state];
    const button = (text, what) => make("button", { className: "quiet", textContent: text, ariaLabel: `${text}: ${name(job.spec.video)}`, onclick: act(dubStep, job.id, async () => { try { await what(); } finally { await showJobs(); } }) });
    const row = make("li", {}, make("span", { className: "what" }, name(job.spec.video), make("span", { className: "hint", textContent: ` ${moment(job.created)}, ${status}` })));
    if (job.state === "done") row.append(button("Show", async () => { await showResult(job); $("#dub-result").focus(); $("#dub-result").scrollIntoView(); }));
    if (job.state === "waiting") row.append(button(job.priority > 0 ? "Normal priority" : "Move to front", () => ask("PATCH", `jobs/${job.id}`, { priority: job.priority > 0 ? 0 : 1 })));
    if (["failed", "cancelled"].includes(job.state)) row.append(button("Try again", async () => { const again = await ask("POST", `jobs/${job.id}/retry`); if (!state.dub) act(dubStep, "dub", () => followDub(again))(); }));
    row.append(ENDED.includes(job.state) ? button("Remove", () => ask("DELETE", `jobs/${job.id}`)) : button("Cancel", () => ask("POST", `jobs/${job.id}/cancel`)));
    return row;
  }));
  $("#kept").textContent = `Kept for ${state.me.limits.keep} ${state.me.limits.keep === 1 ? "hour" : "hours"}. Only you can see them, in this browser${state.me.needs_token ? " or with your token" : ""}.`;
}

// ------------------------------------------------------------------------------------------------------ the whole page

function refresh() {
  const someone = [...state.cast.values()].some(Boolean);
  const needs = [!state.video && "a video or photo", !state.voices.length && "a voice", state.video && state.voices.length && !someone && "a voice for a person in step 3", !$("#consent").checked && "your confirmation above"].filter(Boolean);
  const line = needs.length ? `Still needed: ${needs.join(", ")}.` : "";
  $("#preview-needs").textContent = line;
  $("#dub-needs").textContent = line.replace("your confirmation above", "your confirmation in step 4");
  for (const id of ["show-frame", "show-preview"]) $(`#${id}`).disabled = Boolean(line) || state.busy.has("preview");
  $("#dub").disabled = Boolean(line) || state.busy.has("dub");
  $("#record").disabled = state.busy.has("record");
  $("#voice-file").disabled = $("#voice-demo").disabled = state.busy.has("voice");
  $(".empty", videoStep).hidden = Boolean(state.video) || state.busy.has("video");
  $(".chosen", videoStep).hidden = !state.video || state.busy.has("video");
  $("#moment").disabled = !state.video;
  $("#match").disabled = !state.video?.sound;
  const still = Boolean(state.video?.still);
  for (const id of ["length", "adapt", "damage"]) $(`#${id}`).disabled = still;
  $("#photo-hint").hidden = !still;
  $("#dub").textContent = still ? "Dub the photo" : "Dub the video";
  fitMoment();
  $("#people-hint").textContent = state.people ? (state.voices.length ? "Choose a voice for each person to be dubbed." : "Add a voice, then choose who speaks with it.") : state.video ? "" : "The people in the video or photo are shown here.";
  videoStep.classList.toggle("done", Boolean(state.video));
  voiceStep.classList.toggle("done", state.voices.length > 0);
  peopleStep.classList.toggle("done", someone);
  previewStep.classList.toggle("done", $("#preview-result").hasChildNodes());
  dubStep.classList.toggle("done", $("#dub-result").hasChildNodes());
}

async function start() {
  const me = state.me = await ask("GET", "me");
  $("#version").textContent = `sidgan ${me.version}`;
  const inside = me.known || !me.needs_token;
  $("#login").hidden = inside;
  $("#steps").hidden = !inside;
  $("#log-out").hidden = !(inside && me.needs_token);
  if (!inside) { $("#token").focus(); return; }
  $("#adapt").hidden = $("label[for=adapt]").hidden = !me.limits.adapt;
  for (const minutes of [1, 2, 5, 10].filter((one) => one <= me.limits.adapt && $("#adapt").length < 5)) $("#adapt").append(make("option", { value: minutes, textContent: `for ${minutes} ${minutes > 1 ? "minutes" : "minute"}: looks better, takes longer` }));
  const [files, jobs] = await Promise.all([ask("GET", "files"), ask("GET", "jobs")]);
  state.voices = files.filter((file) => file.kind === "voice").reverse();
  showVoices();
  const video = files.find((file) => file.kind === "video");
  if (video) await takeVideo(video);
  const running = jobs.find((job) => job.kind === "dub" && !ENDED.includes(job.state));
  const last = jobs.find((job) => job.kind === "dub" && job.state === "done" && job.spec.video === video?.id);
  if (running) act(dubStep, "dub", () => followDub(running))();
  else if (last) await showResult(last);
  await showJobs();
  refresh();
}

$("#login").addEventListener("submit", act($("#login"), "login", async () => {
  await ask("POST", "session", { token: $("#token").value.trim() });
  $("#token").value = "";
  await start();
}));
$("#log-out").addEventListener("click", act(videoStep, "log-out", async () => { await ask("DELETE", "session"); location.reload(); }));

start().catch((error) => { $("#steps").hidden = false; problem(videoStep, error); });

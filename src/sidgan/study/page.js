"use strict";
// One viewer rates a list of pages. Each page shows one version of one clip and three questions. Answers are sent at once.
const TEXTS = {
  sync: ["Lip sync", "do the lips fit what is heard?"],
  visual: ["Picture", "is the face sharp and natural?"],
  overall: ["Overall", "how good is it to watch?"],
};
const get = (id) => document.getElementById(id);
let name = "", study = null, at = 0, sent = Promise.resolve();

async function ask(path, values) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function tell(line, bad = false) {
  get("told").textContent = line;
  get("told").classList.toggle("bad", bad);
}

const complete = (page) => study.questions.every((question) => page.scores[question]);

function show(section) {
  for (const id of ["start", "rate", "end"]) get(id).hidden = id !== section;
}

function open(index) {
  at = index;
  const page = study.pages[at], clips = study.pages.length / study.versions;
  get("place").textContent = `Clip ${Math.floor(at / study.versions) + 1} of ${clips}, version ` +
    `${String.fromCharCode(65 + at % study.versions)} of ${study.versions}`;
  get("clip").src = `/clips/${page.clip}.mp4`;
  for (const field of document.querySelectorAll("fieldset")) {
    for (const box of field.querySelectorAll("input")) box.checked = page.scores[field.dataset.question] === Number(box.value);
  }
  show("rate");
  tell("");
  update();
  get("clip").play().catch(() => {});
}

function update() {
  const page = study.pages[at];
  get("done").value = study.pages.filter(complete).length / study.pages.length;
  get("back").disabled = at === 0;
  get("next").disabled = !complete(page);
  get("next").textContent = at === study.pages.length - 1 ? "Finish" : "Next";
  const open = current();
  for (const field of document.querySelectorAll("fieldset")) field.classList.toggle("now", field.dataset.question === open);
}

// The question that a number key answers: the first without a score.
const current = () => study.questions.find((question) => !study.pages[at].scores[question]);

// Answers are sent one after the other, so that the last answer to a question is the one that is saved.
function rate(question, score) {
  const index = at, page = study.pages[index], before = page.scores[question];
  page.scores[question] = score;
  const box = document.querySelector(`input[name="${question}"][value="${score}"]`);
  if (box) box.checked = true;
  update();
  sent = sent.then(() => save(index, question, score, before));
}

async function save(index, question, score, before) {
  const page = study.pages[index];
  try {
    await ask("/api/rate", { name, page: index, question, score });
    if (!get("rate").hidden) tell("saved");
  } catch (error) {
    page.scores[question] = before;
    if (index === at) open(at);
    tell(`This answer was not saved: ${error.message}. Please give it again.`, true);
  }
}

async function next() {
  if (!complete(study.pages[at])) return;
  if (at < study.pages.length - 1) return open(at + 1);
  get("clip").pause();
  await sent;
  const left = study.pages.findIndex((page) => !complete(page));
  if (left >= 0) return open(left);
  get("sum").textContent = `You have rated all ${study.pages.length} versions.`;
  tell("");
  show("end");
  get("again").focus();
}

function build() {
  const parts = study.questions.map((question) => {
    const field = document.createElement("fieldset"), legend = document.createElement("legend");
    const note = document.createElement("small"), scale = document.createElement("div");
    field.dataset.question = question;
    legend.textContent = `${TEXTS[question][0]} `;
    note.textContent = TEXTS[question][1];
    legend.append(note);
    scale.className = "scale";
    for (let score = 1; score <= 5; score++) {
      const label = document.createElement("label"), box = document.createElement("input"), text = document.createElement("span");
      Object.assign(box, { type: "radio", name: question, value: score });
      box.setAttribute("aria-label", `${score}${score === 1 ? ", worst" : score === 5 ? ", best" : ""}`);
      box.addEventListener("change", () => rate(question, score));
      text.textContent = score === 1 ? "1 worst" : score === 5 ? "5 best" : score;
      label.append(box, text);
      scale.append(label);
    }
    field.append(legend, scale);
    return field;
  });
  get("questions").replaceChildren(...parts);
}

get("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  name = get("name").value;
  try {
    study = await ask("/api/join", { name });
  } catch (error) {
    return tell(error.message, true);
  }
  build();
  const left = study.pages.findIndex((page) => !complete(page));
  if (left > 0) tell("Welcome back.");
  open(left < 0 ? 0 : left);
});
get("next").addEventListener("click", next);
get("back").addEventListener("click", () => at > 0 && open(at - 1));
get("again").addEventListener("click", () => open(0));
document.addEventListener("keydown", (event) => {
  if (get("rate").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const inScale = event.target.type === "radio";
  if (event.key >= "1" && event.key <= "5") {
    const question = inScale ? event.target.name : current() ?? study.questions.at(-1);
    rate(question, Number(event.key));
    document.activeElement.blur();
  } else if (event.key === " " && !inScale && event.target.tagName !== "BUTTON" && event.target.tagName !== "VIDEO") {
    const clip = get("clip");
    clip.paused ? clip.play().catch(() => {}) : clip.pause();
  } else if (event.key === "ArrowRight" && !inScale && event.target.tagName !== "VIDEO") {
    next();
  } else if (event.key === "ArrowLeft" && !inScale && event.target.tagName !== "VIDEO" && at > 0) {
    open(at - 1);
  } else {
    return;
  }
  event.preventDefault();
});

// Original and dub on top of each other, with a divider that a range input moves: by mouse, finger or arrow keys.

const FAR = 0.3, NEAR = 0.03;  // seconds of drift above which the original is seeked, and below which it plays at normal speed

function make(tag, className, values = {}) {
  const element = Object.assign(document.createElement(tag), values);
  if (className) element.className = className;
  return element;
}

const clock = (s, all) => all < 60 ? s.toFixed(1) : `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function stage(before, after) {
  const box = make("div", "stage");
  const edge = make("div", "edge");
  const split = make("input", "", { type: "range", min: 0, max: 100, step: 1, value: 50, ariaLabel: "divider between original (left) and dubbed (right)" });
  const move = () => {
    before.style.setProperty("--split", `${split.value}%`);
    edge.style.left = `${split.value}%`;
  };
  const fit = () => box.style.setProperty("--ratio", (after.videoWidth || after.naturalWidth) / (after.videoHeight || after.naturalHeight));
  split.addEventListener("input", move);
  for (const name of ["load", "loadedmetadata"]) after.addEventListener(name, fit);
  move();
  before.classList.add("old");
  box.append(after, before, edge, make("span", "tag left", { textContent: "original" }), make("span", "tag right", { textContent: "dubbed" }), split);
  return { box, edge, split };
}

export function compareImages(before, after) {
  const old = make("img", "", { src: before, alt: "original frame" });
  const dubbed = make("img", "", { src: after, alt: "dubbed frame" });
  const figure = make("figure", "compare");
  figure.append(stage(old, dubbed).box);
  return figure;
}

// `still`: the original is a photo.
export function compareVideos(before, after, still) {
  const old = still ? make("img", "", { src: before, alt: "original photo" }) : make("video", "", { src: before, muted: true, playsInline: true, preload: "auto" });
  const dubbed = make("video", "", { src: after, playsInline: true, preload: "auto" });
  const figure = make("figure", "compare");
  const { box, edge, split } = stage(old, dubbed);
  const controls = make("div", "controls");
  const play = make("button", "", { type: "button", textContent: "Play" });
  const seek = make("input", "", { type: "range", min: 0, max: 1, step: 0.01, value: 0, ariaLabel: "position, in seconds" });
  const time = make("time", "", { textContent: "" });
  let seeking = false;

  // The dubbed video leads, since it is heard. The original follows: by a slightly different speed, or by a seek if far off.
  const chase = () => {
    const drift = old.currentTime - dubbed.currentTime;
    if (dubbed.currentTime >= old.duration) old.pause();
    else if (Math.abs(drift) > FAR || (dubbed.paused && Math.abs(drift) > 0.005)) old.currentTime = dubbed.currentTime;
    else old.playbackRate = Math.abs(drift) < NEAR ? 1 : drift > 0 ? 0.94 : 1.06;
  };
  const follow = () => {
    if (!still) chase();
    if (!seeking) seek.value = dubbed.currentTime;
    const all = dubbed.duration || 0;
    time.textContent = `${clock(dubbed.currentTime, all)} / ${clock(all, all)}${all < 60 ? " s" : ""}`;
  };
  const loop = () => {
    follow();
    if (!dubbed.paused && !dubbed.ended) requestAnimationFrame(loop);
  };
  dubbed.addEventListener("loadedmetadata", () => { seek.max = dubbed.duration; follow(); });
  dubbed.addEventListener("play", () => { play.textContent = "Pause"; loop(); });
  for (const name of ["pause", "ended"]) dubbed.addEventListener(name, () => { play.textContent = "Play"; follow(); });
  dubbed.addEventListener("seeked", follow);
  if (!still) {
    dubbed.addEventListener("play", () => { old.currentTime = dubbed.currentTime; old.play().catch(() => {}); });
    for (const name of ["pause", "ended", "waiting"]) dubbed.addEventListener(name, () => old.pause());
    dubbed.addEventListener("playing", () => old.play().catch(() => {}));
  }
  play.addEventListener("click", () => dubbed.paused ? dubbed.play() : dubbed.pause());
  seek.addEventListener("input", () => { seeking = true; dubbed.currentTime = seek.value; });
  seek.addEventListener("change", () => { seeking = false; });
  old.addEventListener("error", () => {
    for (const element of [old, edge, split, ...box.querySelectorAll(".tag.left")]) element.remove();
    figure.append(make("p", "hint", { textContent: `This browser cannot ${still ? "show" : "play"} the original, so only the dubbed video is shown.` }));
  });
  controls.append(play, seek, time);
  figure.append(box, controls);
  return figure;
}

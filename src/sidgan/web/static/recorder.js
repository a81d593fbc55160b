// Records a voice from the microphone, with a level meter.

const FORMATS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus", ""];

// Records at most `most` seconds. Calls `level` (0 to 1) and `time` (seconds) while recording; resolves to a function that
// stops, and resolves to a Blob.
export async function record(most, level, time) {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    throw new Error("Recording needs https, or a browser on the computer that runs the service.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "The browser blocks the microphone; allow it in the browser settings." : "No microphone was found.");
  }
  const format = FORMATS.find((one) => !one || MediaRecorder.isTypeSupported(one));
  const recorder = new MediaRecorder(stream, format ? { mimeType: format, audioBitsPerSecond: 128000 } : {});
  const pieces = [], sound = new AudioContext(), analyser = sound.createAnalyser(), began = Date.now();
  sound.resume();
  sound.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const ticking = setInterval(() => {
    if (recorder.state !== "recording") return;
    analyser.getFloatTimeDomainData(samples);
    level(Math.min(1, 4 * Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length)));
    const seconds = (Date.now() - began) / 1000;
    time(seconds);
    if (seconds > most) recorder.stop();
  }, 100);
  recorder.ondataavailable = (event) => pieces.push(event.data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start(1000);
  return async () => {
    if (recorder.state !== "inactive") recorder.stop();
    await stopped;
    clearInterval(ticking);
    for (const track of stream.getTracks()) track.stop();
    sound.close();
    return new Blob(pieces, { type: recorder.mimeType });
  };
}

// Requests of the page to the service; errors become a `Refusal` with one line for the user.

export class Refusal extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

function refusal(status, text) {
  try {
    const { code, message } = JSON.parse(text).error;
    return new Refusal(status, code, message[0].toUpperCase() + message.slice(1) + ".");
  } catch {
    return new Refusal(status, "unknown", `The answer ${status} came from a proxy or another program, not from the service; try again.`);
  }
}

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, {
      method, headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refusal(0, "offline", "The service cannot be reached; is it running?");
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  return answer.status === 204 ? null : answer.json();
}

// XMLHttpRequest, since fetch reports no upload progress.
export function upload(file, kind, name, progress) {
  const request = new XMLHttpRequest();
  const sent = new Promise((resolve, reject) => {
    request.open("POST", `/api/files?kind=${kind}&name=${encodeURIComponent([...name].slice(-120).join(""))}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(event.total, 1));
    request.onload = () => request.status === 201 ? resolve(JSON.parse(request.responseText)) : reject(refusal(request.status, request.responseText));
    request.onerror = () => reject(new Refusal(0, "offline", "The upload was interrupted; try again."));
    request.onabort = () => reject(new Refusal(0, "stopped", "Stopped."));
    request.send(file);
  });
  return { sent, stop: () => request.abort() };
}

// Calls `show` with the job whenever it changes; resolves to the ended job. Reconnects after a restart of the server.
export function follow(id, show) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/api/jobs/${id}/events`);
    let last = null, failures = 0;
    source.onmessage = (event) => {
      last = JSON.parse(event.data);
      failures = 0;
      show(last);
      if (["done", "failed", "cancelled"].includes(last.state)) { source.close(); resolve(last); }
    };
    source.onerror = async () => {
      if (source.readyState !== EventSource.CLOSED && ++failures < 40) return;  // EventSource reconnects by itself
      source.close();
      try {
        const job = await ask("GET", `jobs/${id}`);
        if (["done", "failed", "cancelled"].includes(job.state)) { show(job); resolve(job); return; }
        setTimeout(() => follow(id, show).then(resolve, reject), 1500);
      } catch (error) {
        if (error.status === 0 || error.status === 429 || error.status >= 500) setTimeout(() => follow(id, show).then(resolve, reject), 3000);
        else reject(error);
      }
    };
  });
}

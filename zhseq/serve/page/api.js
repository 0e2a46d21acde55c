// The service behind the page: JSON there and back, and poems as they are written.

/** A request that failed; `said` is what the service says of it, see `say`. */
export class ApiError extends Error {
  constructor(status, said) {
    super(said.message);
    this.status = status;
    this.code = said.code;
    this.said = said;
  }
}

const OFFLINE = { code: "offline", message: "" };

let key = "";
try {
  key = sessionStorage.getItem("zhseq.key") ?? "";
} catch {
  // forbidden: the key is asked for again on the next visit
}

/** Use a key from now on, until the browser is closed. */
export function useKey(value) {
  key = value;
  try {
    sessionStorage.setItem("zhseq.key", value);
  } catch {
    // see above
  }
}

/** Send a request and return the answer as an object. */
export async function call(path, body, signal) {
  const response = await send(path, body, signal);
  return read(response, () => response.json());
}

/** Send a request and yield the events of its answer, one a line, as they come. */
export async function* events(path, body, signal) {
  const response = await send(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await read(response, () => reader.read());
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (!line) continue;
      const event = JSON.parse(line);
      if (event.error) throw new ApiError(response.status, event.error);
      yield event;
    }
    if (done) return;
  }
}

async function send(path, body, signal) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const options = { signal, headers, credentials: "omit" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(0, OFFLINE);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new ApiError(response.status, answer.error ?? { code: "http_error", message: response.statusText });
}

async function read(response, step) {
  try {
    return await step();
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(0, OFFLINE);
  }
}

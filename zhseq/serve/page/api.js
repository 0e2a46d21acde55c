// The service behind the page: JSON there and back, and poems as they are written.

/** A request that failed, in words of the service. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = 0) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds
  }
}

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
      if (event.error) throw new ApiError(response.status, event.error.code, event.error.message);
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
    throw error.name === "AbortError" ? error : new ApiError(0, "offline", "");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const { code = "http_error", message = response.statusText } = answer.error ?? {};
  throw new ApiError(response.status, code, message, Number(response.headers.get("Retry-After")) || 0);
}

async function read(response, step) {
  try {
    return await step();
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(0, "offline", "");
  }
}

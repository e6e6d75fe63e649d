/**
 * Control sockets: by which one command reaches the domain that another one runs. JSON-RPC 2.0, one message a line, over a
 * Unix socket for each domain in a folder that only its user can enter. Methods have the names of the command's verbs.
 */
import { chmod, lstat, mkdir, readdir, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ErrorCode, VmxonError } from "../../common/errors.ts";

const SUFFIX = ".sock";
const PRIVATE_FOLDER = 0o700;
const PRIVATE_SOCKET = 0o600;
const LAST_ID = 32_767;
/** Longest line: requests are short. */
const LONGEST_LINE = 1 << 20;
/** Reserved error codes of JSON-RPC 2.0 (section 5.1), and ours. */
const RPC_ERROR = { PARSE: -32700, INVALID: -32600, METHOD: -32601, FAILED: -32000 } as const;

/** A method: gets the request's `params`, and returns what can be JSON. */
export type ControlMethod = (params: Readonly<Record<string, unknown>>) => unknown;

/** The open socket of a running domain. */
export interface ControlServer {
  /** Number of the domain among those of this user, from 1 on. */
  readonly id: number;
  close(): Promise<void>;
}

/** Folder of the sockets; undefined where there are no Unix sockets and users. */
export function controlFolder(): string | undefined {
  const uid = process.getuid?.();
  if (uid === undefined) return undefined;
  const runtime = process.env["XDG_RUNTIME_DIR"];
  return runtime ? join(runtime, "vmxon") : join(tmpdir(), `vmxon-${uid}`);
}

/** Make the folder; refuse one that somebody else could have made. */
async function ownFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
  const stat = await lstat(folder);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.())
    throw new VmxonError("io", `${folder} belongs to somebody else; set XDG_RUNTIME_DIR to a folder of your own`);
  await chmod(folder, PRIVATE_FOLDER);
}

/** Open a socket under the lowest free number. Rejects with VmxonError("io"); undefined where there are none. */
export async function serveControl(
  methods: Readonly<Record<string, ControlMethod>>,
): Promise<ControlServer | undefined> {
  const folder = controlFolder();
  if (folder === undefined) return undefined;
  await ownFolder(folder);
  const open = new Set<Socket>();
  for (let id = 1; id <= LAST_ID; id++) {
    const path = join(folder, `${id}${SUFFIX}`);
    const server = createServer((socket) => {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      serve(socket, methods);
    });
    if (!(await listen(server, path))) continue;
    // The process lives as long as its domain does.
    server.unref();
    return {
      id,
      async close() {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        for (const socket of open) socket.end();
        await closed;
      },
    };
  }
  throw new VmxonError("io", `there are sockets of ${LAST_ID} domains in ${folder}`);
}

/** False: somebody listens there already. */
async function listen(server: Server, path: string): Promise<boolean> {
  const attempt = (): Promise<NodeJS.ErrnoException | undefined> =>
    new Promise((resolve) => {
      const failed = (error: NodeJS.ErrnoException): void => resolve(error);
      server.once("error", failed);
      server.listen(path, () => {
        server.off("error", failed);
        resolve(undefined);
      });
    });
  // From its first moment on nobody else may connect.
  const before = process.umask(0o777 & ~PRIVATE_SOCKET);
  try {
    let error = await attempt();
    if (error?.code === "EADDRINUSE" && !(await answers(path))) {
      // What a process left that was killed.
      await unlink(path).catch(() => {});
      error = await attempt();
    }
    if (error?.code === "EADDRINUSE") return false;
    if (error) throw new VmxonError("io", `${path}: cannot listen there: ${error.message}`, { cause: error });
    return true;
  } finally {
    process.umask(before);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** Call `take` with each line that comes. */
function onLine(socket: Socket, take: (line: string) => void): void {
  let rest = "";
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    if (rest.length > LONGEST_LINE) socket.destroy();
    for (const line of lines) if (line.trim() !== "") take(line);
  });
}

function serve(socket: Socket, methods: Readonly<Record<string, ControlMethod>>): void {
  socket.on("error", () => socket.destroy());
  // One after the other, in the order in which they came.
  let last: Promise<void> = Promise.resolve();
  onLine(socket, (line) => {
    last = last.then(async () => {
      const answer = await answerTo(line, methods);
      if (!socket.destroyed) socket.write(`${JSON.stringify({ jsonrpc: "2.0", ...answer })}\n`);
    });
  });
}

async function answerTo(line: string, methods: Readonly<Record<string, ControlMethod>>): Promise<object> {
  const failed = (id: unknown, code: number, message: string, data?: object): object => ({
    id,
    error: { code, message, ...(data && { data }) },
  });
  let request: { id?: unknown; method?: unknown; params?: unknown } | null;
  try {
    request = JSON.parse(line);
  } catch {
    return failed(null, RPC_ERROR.PARSE, "this is no JSON");
  }
  const { id = null, method, params = {} } = request ?? {};
  if (typeof method !== "string" || typeof params !== "object" || params === null || Array.isArray(params))
    return failed(id, RPC_ERROR.INVALID, "a request has a method and params by name");
  const call = Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (!call) return failed(id, RPC_ERROR.METHOD, `there is no method ${method}`);
  try {
    return { id, result: (await call(params as Record<string, unknown>)) ?? null };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return failed(id, RPC_ERROR.FAILED, message, { code: error instanceof VmxonError ? error.code : "internal" });
  }
}

/** Ask the domain at a socket. Rejects with the VmxonError that it answered with, or VmxonError("io"). */
export function callControl(path: string, method: string, params: object = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (cause?: Error): void =>
      reject(
        new VmxonError("io", `the domain at ${path} does not answer: ${cause?.message ?? "it is gone"}`, { cause }),
      );
    socket.on("error", fail);
    socket.on("close", () => fail());
    onLine(socket, (line) => {
      const { result, error } = JSON.parse(line) as {
        result?: unknown;
        error?: { message: string; data?: { code?: ErrorCode } };
      };
      if (error) reject(new VmxonError(error.data?.code ?? "io", error.message));
      else resolve(result);
      socket.end();
    });
    socket.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })}\n`);
  });
}

/** Numbers and sockets of this user's running domains, in order. */
export async function controlSockets(): Promise<{ readonly id: number; readonly path: string }[]> {
  const folder = controlFolder();
  const names = folder === undefined ? [] : await readdir(folder).catch(() => []);
  return names
    .map((name) => /^(\d+)\.sock$/.exec(name))
    .filter((match) => match !== null)
    .map(([name, id]) => ({ id: Number(id), path: join(folder!, name) }))
    .sort((a, b) => a.id - b.id);
}
